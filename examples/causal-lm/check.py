"""Measures the example's models without thaw: transformers loads each, and its loss on the test paragraphs, one at a
time, must be the one in result.json.

    python check.py out out-scratch
"""

import json
import math
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from thaw_trainer.data.store import PreparedStore

TEXTS = Path(__file__).parent / "data" / "reference.txt"
TOLERANCE = 1e-4
LONGEST = 128


def test_texts(out: Path) -> list[str]:
    """The paragraphs that the run had in its test split: the store has their numbers in the file."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    paragraphs = TEXTS.read_text(encoding="utf-8").strip().split("\n\n")
    return [paragraphs[row] for row in dict.fromkeys(store.table("test")["id"].to_pylist())]


def mean_loss(folder: Path, texts: list[str]) -> float:
    """Mean loss of all tokens but each text's first; a longer text is read in pieces that share one token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    total = count = 0.0
    for text in texts:
        ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        for start in range(0, len(ids) - 1, LONGEST - 1):
            piece = torch.tensor([ids[start : start + LONGEST]])
            with torch.inference_mode():
                loss = model(input_ids=piece, labels=piece).loss.item()  # the mean over all but the first
            total += loss * (piece.shape[1] - 1)
            count += piece.shape[1] - 1
    return total / count


def main(outs: list[Path]) -> int:
    """Prints test perplexities; the exit status is 1 if one is not what result.json says."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    wrong = 0
    texts = test_texts(outs[0])
    results = [json.loads((out / "result.json").read_text(encoding="utf-8")) for out in outs]
    print(f"{'unigrams':<16} {results[0]['baseline']['test']:8.2f}  {results[0]['baseline']['description']}")
    pretrained = Path(__file__).parent / "out-pretrained" / "model"
    if pretrained.is_dir():
        print(f"{'not fine-tuned':<16} {math.exp(mean_loss(pretrained, texts)):8.2f}  {pretrained.parent.name}")
    for out, result in zip(outs, results, strict=True):
        measured, reported = mean_loss(out / "model", texts), result["test"]["loss"]
        same = abs(measured - reported) <= TOLERANCE
        verdict = "as in result.json" if same else f"but result.json says {math.exp(reported):.2f}"
        print(f"{out.name:<16} {math.exp(measured):8.2f}  on {len(texts)} test paragraphs by transformers, {verdict}")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
