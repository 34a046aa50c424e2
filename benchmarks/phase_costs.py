"""What the machinery itself costs: a phase switch, a checkpoint, a look-up in the prefix cache, its filling.

    python benchmarks/phase_costs.py

A phase switch is from the head to the top block, and from there to everything, with two workers on a model of
BERT-base's shape (110 M parameters, random numbers): requires_grad, modes, optimizer and a new DDP wrapping, until the
next step may begin. Look-up and filling are on MiniLM and the quickstart's texts.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from figures import save
from prefix_cache import Case, spec_of, write_inputs
from torch import nn
from torch.multiprocessing.spawn import spawn

from thaw_api.triggers import UntilSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import FrozenPolicy, set_trainable
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.optimizer import phase_optimizer
from thaw_trainer.prefix.capture import capture
from thaw_trainer.prefix.entry import Entry, EntryFacts
from thaw_trainer.prefix.fill import fill
from thaw_trainer.prefix.replay import Replay
from thaw_trainer.prefix.survey import survey
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles, Share
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

RESULT = Path(__file__).resolve().parent / "results" / "phase_costs.json"
SWITCHES = (("head", ["head"]), ("top-1", ["head", "blocks[-1:]"]), ("all", ["all"]))
ROWS, WIDTH = 8, 64


def base_model() -> nn.Module:
    """BERT-base's shape."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    torch.manual_seed(0)
    model: nn.Module = AutoModelForSequenceClassification.from_config(BertConfig())
    return model


def phase_of(model: nn.Module, selectors: list[str]) -> Phase:
    """A phase to the end of the run."""
    train = select(find_layout(model), selectors, "")
    return Phase("phase", train, UntilSpec(fraction=1.0), dict.fromkeys(train, 1e-4))


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A step on random tokens."""
    ids = torch.randint(5, 30000, (ROWS, WIDTH))
    torch.autograd.backward(model.train()(input_ids=ids).logits.square().mean())
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def switch_phases(rank: int, size: int, folder: str) -> None:
    """Runs in each worker; what rank 0 measures goes to <folder>/told.pt."""
    from thaw_api.training import OptimizerSpec

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    gang, model = Gang(rank, size), base_model()
    layout, told = find_layout(model), {}
    phases = {name: phase_of(model, selectors) for name, selectors in SWITCHES}
    optimizer: torch.optim.Optimizer | None = None
    for name, phase in phases.items():
        dist.barrier()
        began = time.perf_counter()
        set_trainable(model, layout, phase.train, FrozenPolicy())
        optimizer = phase_optimizer(model, layout, phase, OptimizerSpec(), optimizer)
        wrapped = gang.wrap(model)
        switched = time.perf_counter()
        one_step(wrapped, optimizer)
        told[name] = (switched - began, time.perf_counter() - switched)
    if rank == 0:
        torch.save(told, Path(folder) / "told.pt")
    dist.destroy_process_group()


def measure_switches(folder: Path) -> dict[str, Any]:
    """Seconds of each switch, and of a step of 8 rows after it."""
    spawn(switch_phases, (2, str(folder)), 2)  # type: ignore[no-untyped-call]
    return {
        name: {"switchSeconds": round(switch, 3), "stepSeconds": round(step, 3)}
        for name, (switch, step) in torch.load(folder / "told.pt").items()
    }


def measure_checkpoints(folder: Path) -> dict[str, Any]:
    """Bytes of a checkpoint of the top block, and of everything."""
    from thaw_api.training import OptimizerSpec

    sizes, seconds = {}, {}
    for name, selectors in SWITCHES[1:]:
        model = base_model()
        layout, phase = find_layout(model), phase_of(model, selectors)
        set_trainable(model, layout, phase.train, FrozenPolicy())
        optimizer = phase_optimizer(model, layout, phase, OptimizerSpec(), None)
        one_step(model, optimizer)
        began = time.perf_counter()
        Checkpoints(folder / name).save(1, model, phase.train, optimizer, {}, 0)
        seconds[name] = time.perf_counter() - began
        sizes[name] = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
    return {"bytes": sizes, "share": round(sizes["top-1"] / sizes["all"], 4), "seconds": seconds}


def timed(work: Callable[[], Any]) -> float:
    """Seconds of a piece of work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compute(model: nn.Module, sweep: list[BatchPlan], run: Callable[[BatchPlan], Any], found: EntryFacts) -> None:
    """The forward of filling, up to the same block, with nothing kept."""
    names = {name: 1 for facts in found.classes.values() for name in facts.recorded}
    for plan in sweep:
        capture(model, partial(run, plan), names, names)


def measure_cache(folder: Path, repeats: int) -> dict[str, Any]:
    """Share of a cached step that is its look-up, and what filling adds to computing the same."""
    case = Case(6, 1, 3, 8)
    write_inputs(folder, 512, case.blocks)
    spec = spec_of(case, "always")
    kind = find_task(spec.task)
    task: Any = kind.open(spec, prepare_job(spec, kind, JobFiles(UriRoots(folder), folder / "stores")).store_of(spec))
    model = task.build()
    layout, cpu = find_layout(model), torch.device("cpu")
    sweep = task.sweep("train", Share())

    def run(plan: Any) -> Any:
        return task.outputs(model, task.collate("train", plan), cpu)

    model.eval()
    with torch.inference_mode():
        found = survey(model, layout, [5], "train", sweep, run)[5]
        assert isinstance(found, EntryFacts)
        filling, computing = list[float](), list[float]()
        for repeat in range(repeats + 1):  # the first one warms up and is not counted
            Entry.lay_out(folder / f"entry-{repeat}", found)
            entry = Entry(folder / f"entry-{repeat}", sweep)
            sides = [
                (filling, partial(fill, model, [entry], run)),
                (computing, partial(compute, model, sweep, run, found)),
            ]
            for seconds, work in sides if repeat % 2 else reversed(sides):
                seconds.append(timed(work))
    phase = phase_of(model, ["head", "blocks[-1:]"])
    set_trainable(model, layout, phase.train, FrozenPolicy())
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4, fused=True)
    replay = Replay(model, {name for facts in entry.facts.classes.values() for name in facts.structures})
    lookups, steps = [], []
    for batch in [*task.batches("train", 0, Share()), *task.batches("train", 1, Share())]:
        began = time.perf_counter()
        facts = entry.facts.classes[batch.plan.width]
        with replay.giving(facts.structures, entry.get(batch.plan, cpu), cpu):
            found_at = time.perf_counter()
            loss, _ = task.step(model, batch, cpu)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        lookups.append(found_at - began)
        steps.append(time.perf_counter() - began)
    fills = [one / other - 1 for one, other in zip(filling[1:], computing[1:], strict=True)]
    return {
        "lookupShare": round(sum(lookups) / sum(steps), 4),
        "lookupMilliseconds": round(1000 * statistics.median(lookups), 3),
        "stepMilliseconds": round(1000 * statistics.median(steps), 2),
        "fillingOverComputing": {
            "median": round(statistics.median(fills), 4),
            "each": [round(each, 4) for each in fills],
        },
        "megabytes": round(found.bytes / 1e6, 1),
        "computingSeconds": round(statistics.median(computing[1:]), 2),
    }


def main() -> None:
    """Measures and prints everything."""
    parser = argparse.ArgumentParser(description="Costs of switches, checkpoints and the prefix cache.")
    parser.add_argument("--repeats", type=int, default=15)
    chosen = parser.parse_args()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    figures: dict[str, Any] = {}
    for name, measure in (("switches", measure_switches), ("checkpoints", measure_checkpoints)):
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = measure(Path(folder))
        print(name, figures[name], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        figures["cache"] = measure_cache(Path(folder), chosen.repeats)
    print("cache", figures["cache"])
    save(RESULT, figures)


if __name__ == "__main__":
    main()
