"""Measures the example's models without thaw: transformers translates the test names with each, and their chrF must be
the one in result.json.

    python check.py out out-scratch
"""

import csv
import json
import sys
from pathlib import Path

import sacrebleu
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from thaw_trainer.data.store import PreparedStore

HERE = Path(__file__).parent
INSTRUCTION = "it: "
SAME = 1e-6


def test_pairs(out: Path) -> list[tuple[str, str]]:
    """The pairs that the run had in its test split: the store has their numbers in the table."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    with (HERE / "data" / "italian.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return [(rows[row]["source"], rows[row]["target"]) for row in store.table("test")["id"].to_pylist()]


def translate(folder: Path, sources: list[str]) -> list[str]:
    """Each text by itself."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    found = []
    for source in sources:
        inputs = tokenizer(INSTRUCTION + source, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
        found.append(tokenizer.decode(tokens[0], skip_special_tokens=True).strip())
    return found


def scores(written: list[str], targets: list[str]) -> tuple[float, float, float]:
    """chrF, BLEU and the percentage of names that are right to the letter."""
    right = sum(one == other for one, other in zip(written, targets, strict=True))
    chrf, bleu = sacrebleu.corpus_chrf(written, [targets]).score, sacrebleu.corpus_bleu(written, [targets]).score
    return chrf, bleu, 100 * right / len(targets)


def main(outs: list[Path]) -> int:
    """Prints test scores; the exit status is 1 if one is not what result.json says."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    sources, targets = map(list, zip(*test_pairs(outs[0]), strict=True))
    print(f"{len(targets)} test names         chrF    BLEU   right")
    rows = [("English as it is", sources)]
    pretrained = HERE / "out-pretrained" / "model"
    if pretrained.is_dir():
        rows.append(("not fine-tuned", translate(pretrained, sources)))
    for name, written in rows:
        print("{:<20} {:7.2f} {:7.2f} {:6.1f}%".format(name, *scores(written, targets)))
    wrong = 0
    for out in outs:
        measured = scores(translate(out / "model", sources), targets)
        reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]
        same = abs(measured[0] - reported["chrf"]) < SAME and abs(measured[1] - reported["bleu"]) < SAME
        verdict = "as in result.json" if same else f"but result.json says {reported['chrf']:.2f}"
        print("{:<20} {:7.2f} {:7.2f} {:6.1f}%  {}".format(out.name, *measured, verdict))
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
