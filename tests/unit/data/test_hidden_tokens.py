"""Tokens that are hidden in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.tiny_jobs import TinyJob, run
from thaw_trainer.data.hidden_tokens import hidden_tokens
from thaw_trainer.tasks.protocol import Share


def test_a_share_of_the_tokens_is_hidden_and_special_ones_never_are() -> None:
    tokens = np.random.default_rng(0).integers(0, 50, (400, 30))
    found = hidden_tokens(tokens, np.arange(400), 0.3, (0, 1), 99, [0, 1, 2])
    ordinary = ~np.isin(tokens, [0, 1, 2])
    assert np.array_equal(found[~ordinary], tokens[~ordinary])
    hidden = found[ordinary] == 99
    assert hidden.mean() == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(found[ordinary][~hidden], tokens[ordinary][~hidden])


def test_what_is_hidden_of_a_row_depends_on_seed_epoch_and_row_alone() -> None:
    row = np.arange(5, 45)[None]
    alone = hidden_tokens(row, np.array([7]), 0.5, (0, 1), 99, [])
    among = hidden_tokens(np.repeat(row, 3, axis=0), np.array([3, 7, 9]), 0.5, (0, 1), 99, [])
    assert np.array_equal(among[1], alone[0])
    assert not np.array_equal(among[0], alone[0])
    assert not np.array_equal(hidden_tokens(row, np.array([7]), 0.5, (0, 2), 99, []), alone)
    assert not np.array_equal(hidden_tokens(row, np.array([7]), 0.5, (1, 1), 99, []), alone)


def test_training_rows_are_hidden_anew_each_epoch_and_held_out_ones_never(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    spec = tiny.spec({"data.augment": [{"hideTokens": {"probability": 0.5}}], "training.epochs": 2})
    task = tiny.task(spec)

    def of(split: str, epoch: int) -> dict[int, list[int]]:
        batches = task.batches(split, epoch, Share())
        return {
            int(row): tokens.tolist() for each in batches for row, tokens in zip(each.id, each.input_ids, strict=True)
        }

    first, second = of("train", 0), of("train", 1)
    assert first.keys() == second.keys()
    assert first != second
    assert of("train", 0) == first
    assert of("validation", 0) == of("validation", 1)
    hidden = task.store.facts["hiddenToken"]
    assert not any(hidden in tokens for tokens in of("validation", 0).values())
    told = run(task, spec, tmp_path / "trial")
    assert told.state == "succeeded"
    assert told.reports[-1]["prefix"]["blocks"] == 0
