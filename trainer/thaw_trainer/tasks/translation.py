"""Translation: a text in another language, by any AutoModelForSeq2SeqLM (Marian, T5, mBART, NLLB)."""

from typing import Any

from thaw_trainer.data.examples import Examples
from thaw_trainer.tasks.text_pairs import TextPairKind, TextPairTask
from thaw_trainer.tasks.written_metrics import translation_metrics


class Translation(TextPairTask):
    """One trial's view of the rows and the model."""

    text_metrics = staticmethod(translation_metrics)


class TranslationKind(TextPairKind):
    """See TaskKind."""

    task, roles = Translation, ("source", "target")

    @staticmethod
    def baseline(splits: dict[str, Examples]) -> dict[str, Any]:
        """See TextPairKind: names, numbers and cognates are right without being translated."""
        test = splits["test"].columns
        chrf = translation_metrics(list(test["target"]), list(test["source"]))["chrf"]
        return {"metric": "chrf", "test": chrf, "description": "the source as it is"}


KIND = TranslationKind()
