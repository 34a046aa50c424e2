"""What `shard` makes of a model, and what it refuses."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from tests.unit.loop.gangs import WORKERS
from tests.unit.prefix.sites import TOP, site
from tests.unit.tiny_jobs import NO_DROPOUT, TinyJob, WatchedTask, run
from thaw_trainer.errors import MODEL_NOT_DIVISIBLE, TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.sharding import SameTensors, local, shard, whole
from thaw_trainer.loop.stage import Stage

WIDTH = 6


class Net(nn.Module):
    """A stem, three blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(3)])
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(x)
        return logits


def rows(rank: int) -> torch.Tensor:
    return torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(rank))


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.grad.clone() for name, tensor in model.named_parameters() if tensor.grad is not None}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job whose store is made."""
    made = TinyJob(tmp_path_factory.mktemp("job"), **NO_DROPOUT)
    made.store(made.spec())
    return made


@pytest.fixture(scope="module")
def told(tiny: TinyJob, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two workers found."""
    folder = tmp_path_factory.mktemp("two")
    spawn(work, (WORKERS, str(folder), str(tiny.root)), WORKERS)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORKERS)]


def work(rank: int, size: int, folder: str, root: str) -> None:
    """Runs in each worker; what it found goes to <folder>/<rank>.pt."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=timedelta(seconds=30))
    gang = Gang(rank, size)
    found = {
        "held": held_in_a_step(TinyJob.there(Path(root)), gang, Path(folder) / "checkpoints"),
        "alone": computed_alone(gang),
        "proof": proof_on_one_worker(TinyJob.there(Path(root)), gang, Path(folder)),
        "parts": parts_of_a_tied_model(gang),
        "differing": told_of_differing_tensors(gang),
        "trial": trial_with_differing_tensors(TinyJob.there(Path(root)), gang, Path(folder) / "differing"),
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def held_in_a_step(tiny: TinyJob, gang: Gang, checkpoints: Path) -> dict[str, int]:
    """How many numbers a worker holds in a step that trains everything."""
    held: dict[str, int] = {}
    apply = Stage.step

    def watched(self: Stage, step: int) -> None:
        assert self.optimizer is not None
        tensors = list(self.model.parameters())
        held["weights"] = sum(local(tensor).numel() for tensor in tensors)
        held["gradients"] = sum(local(tensor.grad).numel() for tensor in tensors if tensor.grad is not None)
        apply(self, step)
        moments = [value for state in self.optimizer.state.values() for value in state.values() if value.ndim]
        held["moments"] = sum(local(moment).numel() for moment in moments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "step", watched)
        spec = tiny.spec({"training.sharding": "full", "freezing": {"preset": "none"}, "training.epochs": 1})
        run(tiny.task(spec), spec, checkpoints, gang)
    return held


def test_each_worker_holds_its_share_of_weights_gradients_and_moments(
    tiny: TinyJob, told: list[dict[str, Any]]
) -> None:
    total = sum(tensor.numel() for tensor in tiny.task(tiny.spec()).build().parameters())
    for what, times in {"weights": 1, "gradients": 1, "moments": 2}.items():
        shares = [each["held"][what] / (times * total) for each in told]
        assert sum(shares) == 1, "nothing is held twice"
        assert max(shares) < 0.55, what


def computed_alone(gang: Gang) -> dict[str, Any]:
    """Inside `whole`, the first worker does more than the second, and fails; then both take a step."""
    model = Net()
    weights = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    shard(model, find_layout(model), gang)
    found: dict[str, Any] = {}
    for turn in range(2):  # before the first step of all, and after it
        with whole(model):
            found[f"same {turn}"] = all(torch.equal(each, weights[name]) for name, each in model.named_parameters())
            for _ in range(3 if gang.rank == 0 else 0):
                model(rows(0)).sum().backward()
                found[f"own {turn}"] = gradients(model)
                model.zero_grad()
                with torch.no_grad():
                    model(rows(0))
                with suppress(RuntimeError):
                    model(torch.ones(2, WIDTH + 1))
        found[f"left {turn}"] = gradients(model)
        model(rows(gang.rank)).sum().backward()
        every = {name: tensor.grad for name, tensor in model.named_parameters()}
        found[f"together {turn}"] = {name: each.full_tensor() for name, each in every.items()}  # type: ignore[union-attr]
        model.zero_grad()
    return found


def test_inside_whole_a_worker_computes_by_itself_and_then_with_the_others(told: list[dict[str, Any]]) -> None:
    each = []
    for rank in range(WORKERS):
        reference = Net()
        reference(rows(rank)).sum().backward()
        each.append(gradients(reference))
    mean = {name: (each[0][name] + each[1][name]) / 2 for name in each[0]}
    for rank, worker in enumerate(told):
        found = worker["alone"]
        for turn in range(2):
            assert found[f"same {turn}"]
            assert found[f"left {turn}"] == {}
            torch.testing.assert_close(found[f"together {turn}"], mean)
            if rank == 0:
                torch.testing.assert_close(found[f"own {turn}"], each[0])


def proof_on_one_worker(tiny: TinyJob, gang: Gang, folder: Path) -> list[tuple[str | None, int]]:
    """Two trials over one cache; before the second, the second worker alone forgets that replay was proved."""
    spec = tiny.spec(TOP | {"training.sharding": "full", "training.epochs": 1})
    known = site(tiny, spec, folder / "cache")
    found: list[tuple[str | None, int]] = []
    for name in ("first", "second"):
        told = run(tiny.task(spec), spec, folder / name, gang, prefix=known)
        found += [(told.state, len(known.memory.proved))]
        if gang.rank == 1:
            known.memory.proved.clear()
    return found


def test_one_worker_may_have_to_prove_what_another_knows(told: list[dict[str, Any]]) -> None:
    assert [each["proof"] for each in told] == [[("succeeded", 1)] * 2] * WORKERS


def told_of_differing_tensors(gang: Gang) -> list[str]:
    """A loss that depends on another of two like tensors on each worker, in the second of two steps."""
    tensors = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    same, found = SameTensors(gang, divided=True), []
    for differing in (False, True):
        for number, tensor in enumerate(tensors):
            tensor.grad = torch.ones(2) if number == (gang.rank if differing else 0) else None
        same.look(tensors)
        try:
            same.check()
        except TrainerError as error:
            found.append(f"{differing} {error.reason} {error.field}")
    return found


def test_a_loss_that_depends_on_other_tensors_on_one_worker_ends_the_trial(told: list[dict[str, Any]]) -> None:
    assert [each["differing"] for each in told] == [["True ModelNotDivisible spec.training.sharding"]] * WORKERS


def parts_of_a_tied_model(gang: Gang) -> tuple[list[str], bool]:
    """The second of three blocks shares a tensor with the stem."""
    model = Net()
    model.blocks[1][0].bias = model.stem.bias  # type: ignore[index]
    shard(model, find_layout(model), gang)
    model(rows(0)).sum().backward()
    reached = all(tensor.grad is not None for tensor in model.parameters())
    return [name for name, module in model.named_modules() if hasattr(module, "unshard")], reached


def test_blocks_are_parts_of_their_own_where_they_share_no_tensor(told: list[dict[str, Any]]) -> None:
    assert [each["parts"] for each in told] == [(["", "blocks.0", "blocks.2"], True)] * WORKERS


class Differing(WatchedTask):
    """Each worker's loss depends on another of two like tensors."""

    rank = 0

    def build(self) -> nn.Module:
        """See Task."""
        model = super().build()
        for name in ("first", "second"):
            model.register_parameter(name, nn.Parameter(torch.ones(2)))
        return model

    def step(self, model: nn.Module, batch: Any, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task."""
        loss, count = super().step(model, batch, device)
        return loss + model.get_parameter("second" if self.rank else "first").sum(), count


def trial_with_differing_tensors(tiny: TinyJob, gang: Gang, checkpoints: Path) -> tuple[str, bool]:
    spec = tiny.spec({"training.sharding": "full", "freezing": {"preset": "none"}})
    task = Differing(spec, tiny.store(spec))
    task.rank = gang.rank
    try:
        run(task, spec, checkpoints, gang)
    except TrainerError as error:
        return error.reason, checkpoints.exists()
    return "", checkpoints.exists()


def test_such_a_trial_leaves_no_checkpoint(told: list[dict[str, Any]]) -> None:
    assert [each["trial"] for each in told] == [(MODEL_NOT_DIVISIBLE, False)] * WORKERS


def with_layerdrop(model: Net) -> str:
    model.layerdrop = 0.1  # type: ignore[assignment]
    return "leaves out layers at random"


def with_configured_layerdrop(model: Net) -> str:
    model.config = SimpleNamespace(layerdrop=0.1)  # type: ignore[assignment]
    return "layerdrop must be 0"


def with_a_single_number(model: Net) -> str:
    model.register_parameter("temperature", nn.Parameter(torch.tensor(1.0)))
    return "temperature is a single number"


def with_two_types(model: Net) -> str:
    model.blocks[1][0].bias.data = model.blocks[1][0].bias.data.bfloat16()  # type: ignore[index]
    return "blocks.1 has trainable tensors of bfloat16 and float32"


@pytest.mark.parametrize("spoil", [with_layerdrop, with_configured_layerdrop, with_a_single_number, with_two_types])
def test_what_cannot_be_divided_is_refused_before_any_worker_waits(spoil: Any) -> None:
    model = Net()
    message = spoil(model)
    with pytest.raises(TrainerError, match=message) as caught:
        shard(model, find_layout(model), Gang(0, WORKERS))
    assert (caught.value.reason, caught.value.field) == (MODEL_NOT_DIVISIBLE, "spec.training.sharding")
