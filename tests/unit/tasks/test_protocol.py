from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.tasks.pair_verification import ENTRY, PairVerification, verification_spec
from tests.unit.tiny_jobs import Killed, Run, die_after, run
from thaw_api.tasks import TASKS
from thaw_trainer.errors import TrainerError
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import measure_split, predict_split
from thaw_trainer.tasks.protocol import Task, join_predictions, predict

GRADUAL: dict[str, Any] = {"freezing": {"preset": "gradual"}, "training.epochs": 5}


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "reinforcement-learning", ENTRY)


def verify(folder: Path, changes: dict[str, Any], **how: Any) -> tuple[PairVerification, Run]:
    spec = verification_spec(changes)
    task = PairVerification(spec)
    return task, run(task, spec, folder, **how)


def test_a_task_without_rows_is_trained_by_the_same_loop(tmp_path: Path) -> None:
    _, told = verify(tmp_path, {"training.epochs": 12})
    assert told.state == "succeeded"
    assert all(len(losses) == 6 for losses in told.losses)
    assert told.metrics[-1]["auc"] > told.metrics[0]["auc"] > 0.5
    assert told.reports[-1]["train_loss"] < told.reports[0]["train_loss"]


def test_its_objective_is_its_own(tmp_path: Path) -> None:
    _, told = verify(tmp_path, {"training.epochs": 6})
    values = [metrics["auc"] for metrics in told.metrics]
    assert told.reports[-1]["best_epoch"] == values.index(max(values)) + 1


def test_its_model_thaws_by_the_same_words(tmp_path: Path) -> None:
    task, told = verify(tmp_path, GRADUAL)
    assert [report["phase"] for report in told.reports] == ["head", "top-1", "top-2", "top-3", "all"]
    first, *rest = task.snapshots
    moved = [
        {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in zip([first, *rest], rest, strict=False)
    ]
    assert moved == [
        {"head", "norm", "blocks.2.0"},
        {"head", "norm", "blocks.2.0", "blocks.1.0"},
        {"head", "norm", "blocks.2.0", "blocks.1.0", "blocks.0.0"},
        {"head", "norm", "blocks.2.0", "blocks.1.0", "blocks.0.0", "stem"},
    ]


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_it_goes_on_from_its_checkpoint_bit_for_bit(tmp_path: Path, epoch: int) -> None:
    _, whole = verify(tmp_path / "whole", GRADUAL)
    with pytest.raises(Killed):
        verify(tmp_path / "cut", GRADUAL, answer=die_after(epoch))
    _, rest = verify(tmp_path / "cut", GRADUAL, reported=epoch)
    assert rest.reports == whole.reports[epoch:]


def test_a_wrong_selector_is_named_as_for_any_task(tmp_path: Path) -> None:
    phases = [{"name": "p", "train": ["embeddings"], "until": {"epochs": 1}}]
    with pytest.raises(TrainerError, match="'embeddings' matches no tensor"):
        verify(tmp_path, {"freezing": {"phases": phases}})


def test_a_metric_over_pairs_sees_every_example_once_however_many_workers_predict() -> None:
    spec = verification_spec()
    task: Task = PairVerification(spec)
    torch.manual_seed(0)
    model = task.build()
    whole = predict_split(model, task, "validation", Gang(), spec.training)
    assert whole is not None
    assert whole["id"].tolist() == list(range(35))
    device = torch.device("cpu")
    with torch.inference_mode():
        parts = [
            predict(task, model, batch, device)
            for rank in (1, 0)
            for batch in task.batches("validation", 0, Gang(rank, 2).share)
        ]
    joined = join_predictions(parts)
    assert all(np.array_equal(joined[name], whole[name]) for name in whole)
    assert task.metrics(joined, full=False) == measure_split(model, task, "validation", Gang(), spec.training)


def test_predictions_are_joined_in_order_of_id_and_empty_parts_left_out() -> None:
    parts = [
        {"id": np.asarray([4, 2]), "score": np.asarray([[0.4], [0.2]])},
        {"id": np.asarray([], dtype=np.int64), "score": np.empty((0, 3))},
        {"id": np.asarray([1]), "score": np.asarray([[0.1]])},
    ]
    joined = join_predictions(parts)
    assert joined["id"].tolist() == [1, 2, 4]
    assert joined["score"].tolist() == [[0.1], [0.2], [0.4]]


def test_predictions_of_nothing_are_empty() -> None:
    empty = {"id": np.asarray([], dtype=np.int64)}
    assert join_predictions([empty, empty])["id"].tolist() == []
