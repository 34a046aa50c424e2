"""Metrics of texts that a model has written beside those that it should have written."""

import unicodedata
from typing import Any


def translation_metrics(targets: list[str], written: list[str]) -> dict[str, float]:
    """bleu and chrf of the whole split, 0 to 100, by sacrebleu with its defaults (13a words, chrF2)."""
    import sacrebleu

    return {
        "bleu": float(sacrebleu.corpus_bleu(written, [targets]).score),
        "chrf": float(sacrebleu.corpus_chrf(written, [targets]).score),
    }


def summary_metrics(targets: list[str], written: list[str]) -> dict[str, float]:
    """rouge1, rouge2 and rougeL: the mean F measure over the rows, 0 to 1, by rouge-score without stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names, tokenizer=Words())
    scores = [scorer.score(target, text) for target, text in zip(targets, written, strict=True)]
    return {name: sum(each[name].fmeasure for each in scores) / len(scores) for name in names}


class Words:
    """Words of any script that has spaces between them. rouge-score's own splits at whatever is not a to z or a digit,
    so a text in Cyrillic would have none."""

    def tokenize(self, text: str) -> list[Any]:
        """Lower-case words, in order."""
        composed = unicodedata.normalize("NFC", text.lower())
        return "".join(each if unicodedata.category(each)[0] in "LMN" else " " for each in composed).split()
