"""Summarization: a short text that says what a long one does, by any AutoModelForSeq2SeqLM (T5, BART, Pegasus)."""

from typing import Any

from thaw_trainer.data.examples import Examples
from thaw_trainer.tasks.text_pairs import TextPairKind, TextPairTask
from thaw_trainer.tasks.written_metrics import summary_metrics


class Summarization(TextPairTask):
    """One trial's view of the rows and the model."""

    text_metrics = staticmethod(summary_metrics)


class SummarizationKind(TextPairKind):
    """See TaskKind."""

    task, roles = Summarization, ("text", "summary")

    @staticmethod
    def baseline(splits: dict[str, Examples]) -> dict[str, Any]:
        """See TextPairKind: the beginning of a text, as many words as summaries of train have on average."""
        summaries, test = splits["train"].columns["target"], splits["test"].columns
        words = max(1, round(sum(len(text.split()) for text in summaries) / len(summaries)))
        beginnings = [" ".join(text.split()[:words]) for text in test["source"]]
        rouge = summary_metrics(list(test["target"]), beginnings)["rougeL"]
        return {"metric": "rougeL", "test": rouge, "description": f"the first {words} words of the text"}


KIND = SummarizationKind()
