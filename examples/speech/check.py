"""What fine-tuning was worth: word error rates on the Scottish voice of the fine-tuned model, of the one that heard
Americans only, and of the same network trained on the Scottish recordings alone, with the same search.

    python check.py
"""

import csv
import json
import sys
from pathlib import Path

import jiwer
import soundfile
import torch
from transformers import AutoModelForCTC, AutoProcessor
from transformers.utils import logging

HERE = Path(__file__).resolve().parent


def heard(model_folder: Path, folder: Path) -> tuple[list[str], list[str]]:
    """What is said in the recordings of a folder, and what a model hears, by transformers alone."""
    processor, model = AutoProcessor.from_pretrained(model_folder), AutoModelForCTC.from_pretrained(model_folder).eval()
    said, told = [], []
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        samples, rate = soundfile.read(folder / row["file_name"])
        if rate != 8000:
            import soxr

            samples = soxr.resample(samples, rate, 8000)
        inputs = processor(samples, sampling_rate=8000, return_tensors="pt")
        with torch.inference_mode():
            told.append(processor.batch_decode(model(**inputs).logits.argmax(dim=-1))[0])
        said.append(row["text"])
    return said, told


def tested(out: Path) -> float:
    """The test word error rate that a run reports."""
    return float(json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]["wer"])


def main() -> int:
    """Prints the rates; the exit status is 1 unless fine-tuning was worth something."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    said, untuned = heard(HERE / "out-americans" / "model", HERE / "data" / "scot-test")
    _, tuned = heard(HERE / "out" / "model", HERE / "data" / "scot-test")
    rates = {
        "fine-tuned": (jiwer.wer(said, tuned), f"by transformers; result.json says {tested(HERE / 'out'):.4f}"),
        "not fine-tuned": (jiwer.wer(said, untuned), "the model that heard Americans only"),
        "from scratch": (tested(HERE / "out-scratch"), "the same network on the same recordings, random weights"),
    }
    for name, (rate, explanation) in rates.items():
        print(f"{name:<15} WER {rate:.4f}  {explanation}")
    return int(rates["fine-tuned"][0] >= min(rates["not fine-tuned"][0], rates["from scratch"][0]))


if __name__ == "__main__":
    sys.exit(main())
