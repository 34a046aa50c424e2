from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.unit.tiny_jobs import GRADUAL, TinyJob, snapshot
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError
from thaw_trainer.loop import checkpoint
from thaw_trainer.loop.checkpoint import Checkpoints, load_moved, moved_tensors


class Net(nn.Module):
    """Two layers and batch statistics; a buffer that is not for keeping."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low, self.norm, self.high = nn.Linear(width, width), nn.BatchNorm1d(width), nn.Linear(width, 2)
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.high(self.norm(self.low(x)))  # type: ignore[no-any-return]


HIGH = frozenset({"high.weight", "high.bias"})


def trained(model: Net) -> torch.optim.Optimizer:
    """The model after a step on its upper layer."""
    optimizer = torch.optim.AdamW([model.high.weight, model.high.bias], lr=0.1)
    model.train()(torch.randn(8, model.low.in_features)).sum().backward()
    optimizer.step()
    return optimizer


def save(folder: Path, epoch: int = 1, best: int = 1, width: int = 4) -> Net:
    model = Net(width)
    Checkpoints(folder).save(epoch, model, HIGH, trained(model), {"epoch": epoch}, best)
    return model


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_gives_back_what_moved(tmp_path: Path) -> None:
    model = save(tmp_path)
    saved = Checkpoints(tmp_path).newest()
    assert saved is not None
    assert saved.state == {"epoch": 1}
    fresh = Net()
    saved.load_weights(fresh)
    assert all(
        torch.equal(tensor, snapshot(fresh)[name]) for name, tensor in snapshot(model).items() if "num" not in name
    )


def test_a_checkpoint_holds_moved_tensors_and_statistics_only(tmp_path: Path) -> None:
    save(tmp_path)
    kept = {"high.weight", "high.bias", "norm.running_mean", "norm.running_var"}
    assert load_file(tmp_path / "epoch-0001" / "weights.safetensors").keys() == kept
    assert load_file(tmp_path / "best-0001.safetensors").keys() == kept
    moments = {f"{key}/{name}" for key in ("exp_avg", "exp_avg_sq", "step") for name in HIGH}
    assert load_file(tmp_path / "epoch-0001" / "optimizer.safetensors").keys() == moments


def test_a_trials_checkpoint_holds_what_its_phases_have_trained(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    spec = tiny.spec(GRADUAL)
    tiny.run(spec, answer=lambda report: report["epoch"] < 3)
    file = tmp_path / "checkpoints" / "trial" / "epoch-0003" / "weights.safetensors"
    found = {name.split(".layer.")[-1].split(".")[0] for name in load_file(file)}
    assert found == {"1", "2", "bert", "classifier"}, "two blocks, the pooler and the classifier"
    whole = sum(tensor.nbytes for tensor in tiny.task(spec).build().parameters())
    assert file.stat().st_size < whole


def test_an_older_checkpoint_goes_when_the_newer_one_is_there_and_the_best_stays(tmp_path: Path) -> None:
    save(tmp_path, epoch=1, best=1)
    assert names(tmp_path) == ["best-0001.safetensors", "epoch-0001"]
    save(tmp_path, epoch=2, best=1)
    assert names(tmp_path) == ["best-0001.safetensors", "epoch-0002"]
    save(tmp_path, epoch=3, best=3)
    assert names(tmp_path) == ["best-0003.safetensors", "epoch-0003"]


def test_without_a_best_epoch_there_is_no_best_file(tmp_path: Path) -> None:
    save(tmp_path, epoch=1, best=0)
    assert names(tmp_path) == ["epoch-0001"]


def test_a_trial_that_is_over_keeps_its_best_epoch_only(tmp_path: Path) -> None:
    save(tmp_path, epoch=2, best=2)
    Checkpoints(tmp_path).keep_best_only()
    assert names(tmp_path) == ["best-0002.safetensors"]
    assert Checkpoints(tmp_path).newest() is None


def test_a_folder_without_a_checkpoint_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").newest() is None


class Crash(BaseException):
    """The process ends."""


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without links."""

    def refuse(*args: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("thaw_trainer.disk.os.link", refuse)


@pytest.mark.parametrize("links", [True, False])
def test_the_best_file_stays_whole_when_the_checkpoint_that_it_was_made_of_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        no_links(monkeypatch)
    first = snapshot(save(tmp_path, epoch=1, best=1))
    assert (tmp_path / "best-0001.safetensors").stat().st_nlink == (2 if links else 1)
    save(tmp_path, epoch=2, best=1)
    assert names(tmp_path) == ["best-0001.safetensors", "epoch-0002"]
    best = load_file(tmp_path / "best-0001.safetensors")
    assert all(torch.equal(tensor, first[name]) for name, tensor in best.items())


STAGES = ["best", "weights", "optimizer", "state", "rename", "removal"]


def crash_at(monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException) -> None:
    """Makes a stage of writing fail."""
    write = save_file

    def write_or_fail(tensors: Any, file: Path) -> None:
        if file.name.startswith(stage):
            file.write_bytes(b"half a file")
            raise error
        write(tensors, file)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    def half_a_copy(source: Path, target: Path) -> None:
        target.write_bytes(b"half a file")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", write_or_fail)
    if stage == "best":
        no_links(monkeypatch)
        monkeypatch.setattr("thaw_trainer.loop.checkpoint.shutil.copyfile", half_a_copy)
    if stage == "state":
        monkeypatch.setattr(Path, "write_text", fail)
    if stage == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    if stage == "removal":
        monkeypatch.setattr(Checkpoints, "_remove_all_but", fail)


@pytest.mark.parametrize("stage", STAGES)
def test_a_crash_at_any_stage_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    save(tmp_path, epoch=1, best=1)
    with monkeypatch.context() as patched:
        crash_at(patched, stage, Crash())
        with pytest.raises(Crash):
            save(tmp_path, epoch=2, best=2)
    saved = Checkpoints(tmp_path).newest()
    assert saved is not None
    assert saved.state == {"epoch": 2 if stage == "removal" else 1}
    saved.load_weights(Net())
    load_moved(Net(), Checkpoints(tmp_path).best_file(saved.state["epoch"]))
    save(tmp_path, epoch=2, best=2)
    assert names(tmp_path) == ["best-0002.safetensors", "epoch-0002"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fails_at_any_stage_is_an_error_that_names_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    crash_at(monkeypatch, stage, OSError(28, "No space left on device"))
    with pytest.raises(TrainerError, match="No space left") as caught:
        save(tmp_path)
    assert (caught.value.reason, caught.value.field) == (OUTPUT_NOT_WRITABLE, "spec.output.uri")
    assert caught.value.cause == "infrastructure"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_leaves_the_checkpoint_before_it(small_disk: Path) -> None:
    save(small_disk, epoch=1, best=1)
    with pytest.raises(TrainerError) as caught:
        save(small_disk, epoch=2, best=2, width=2000)
    assert caught.value.reason == OUTPUT_NOT_WRITABLE
    saved = Checkpoints(small_disk).newest()
    assert saved is not None
    assert saved.state == {"epoch": 1}
    saved.load_weights(Net())


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainerError) as caught:
        save(tmp_path / "file" / "trial")
    assert caught.value.reason == OUTPUT_NOT_WRITABLE


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_at(monkeypatch, "weights", ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        save(tmp_path)


def test_tied_tensors_are_kept_once(tmp_path: Path) -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(4, 3), "out": nn.Linear(3, 4, bias=False)})
    model["out"].weight = model["embed"].weight
    assert moved_tensors(model, frozenset({"embed.weight"})).keys() == {"embed.weight"}
