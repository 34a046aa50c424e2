"""Measures the example's models without thaw: transformers sums up the test lists with each, and ROUGE must be what is
in result.json. It also says how many summaries are right to the letter.

    python check.py out out-scratch
"""

import csv
import json
import sys
from pathlib import Path

import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from thaw_trainer.data.store import PreparedStore

HERE = Path(__file__).resolve().parent
KINDS = ("rouge1", "rouge2", "rougeL")
ROWS = 50
SAME = 1e-6


def split_rows(out: Path, split: str) -> list[tuple[str, str]]:
    """The texts and summaries that the run had in a split: the store has their numbers in the table."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    with (HERE / "data" / "counted.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return [(rows[row]["text"], rows[row]["summary"]) for row in store.table(split)["id"].to_pylist()]


def written(folder: Path, texts: list[str]) -> list[str]:
    """What a model makes of each text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    found = []
    for start in range(0, len(texts), ROWS):
        inputs = tokenizer(texts[start : start + ROWS], padding=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
        found += [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    return found


def scores(summaries: list[str], right: list[str]) -> list[float]:
    """ROUGE-1, -2 and -L, and the percentage of summaries that are right to the letter."""
    scorer = RougeScorer(list(KINDS))
    each = [scorer.score(target, mine) for target, mine in zip(right, summaries, strict=True)]
    exact = 100 * sum(mine == target for mine, target in zip(summaries, right, strict=True)) / len(right)
    return [*(sum(row[kind].fmeasure for row in each) / len(each) for kind in KINDS), exact]


def main(outs: list[Path]) -> int:
    """Prints test scores; the exit status is 1 if one is not what result.json says."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    texts, right = map(list, zip(*split_rows(outs[0], "test"), strict=True))
    train = split_rows(outs[0], "train")
    count = round(sum(len(summary.split()) for _, summary in train) / len(train))
    print(f"{len(right)} test lists        rouge1  rouge2  rougeL    right")
    rows = [(f"the first {count} words", [" ".join(text.split()[:count]) for text in texts])]
    if (HERE / "out-common" / "model").is_dir():
        rows.append(("not fine-tuned", written(HERE / "out-common" / "model", texts)))
    line = "{:<20} {:7.4f} {:7.4f} {:7.4f} {:7.1f}%"
    for name, summaries in rows:
        print(line.format(name, *scores(summaries, right)))
    wrong = 0
    for out in outs:
        mine = scores(written(out / "model", texts), right)
        reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]
        same = all(abs(value - reported[kind]) < SAME for value, kind in zip(mine, KINDS, strict=False))
        print(line.format(out.name, *mine), "as in result.json" if same else f"but result.json says {reported}")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
