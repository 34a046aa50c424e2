"""Measures the example's models without thaw: transformers summarizes the test texts with each, and their rougeL must
be the one in result.json.

    python check.py out out-scratch
"""

import json
import statistics
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from thaw_trainer.data.store import PreparedStore
from thaw_trainer.tasks.written_metrics import summary_metrics

HERE = Path(__file__).parent
LONGEST = 128
SAME = 1e-6


def test_pairs(out: Path) -> list[tuple[str, str]]:
    """The pairs that the run had in its test split: the store has their numbers in the table."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    lines = (HERE / "data" / "library.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(lines[row]) for row in store.table("test")["id"].to_pylist()]
    return [(row["text"], row["summary"]) for row in rows]


def summarize(folder: Path, texts: list[str]) -> list[str]:
    """Each text by itself."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    found = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
        found.append(tokenizer.decode(tokens[0], skip_special_tokens=True).strip())
    return found


def main(outs: list[Path]) -> int:
    """Prints test scores; the exit status is 1 if one is not what result.json says."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    pairs = test_pairs(outs[0])
    texts, summaries = [text for text, _ in pairs], [summary for _, summary in pairs]
    results = [json.loads((out / "result.json").read_text(encoding="utf-8")) for out in outs]
    words = round(statistics.mean(len(summary.split()) for summary in summaries))
    rows = [(f"first {words} words", [" ".join(text.split()[:words]) for text in texts])]
    pretrained = HERE / "out-pretrained" / "model"
    if pretrained.is_dir():
        rows.append(("not fine-tuned", summarize(pretrained, texts)))
    print(f"{len(pairs)} test texts        rouge1  rouge2  rougeL")
    for name, written in rows:
        print("{:<20} {rouge1:7.3f} {rouge2:7.3f} {rougeL:7.3f}".format(name, **summary_metrics(summaries, written)))
    wrong = 0
    for out, result in zip(outs, results, strict=True):
        found = summary_metrics(summaries, summarize(out / "model", texts))
        same = abs(found["rougeL"] - result["test"]["rougeL"]) < SAME
        verdict = "as in result.json" if same else f"but result.json says {result['test']['rougeL']:.3f}"
        print("{:<20} {rouge1:7.3f} {rouge2:7.3f} {rougeL:7.3f}  {}".format(out.name, verdict, **found))
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
