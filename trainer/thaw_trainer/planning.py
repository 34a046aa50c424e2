"""What a job would do, without doing it: rows, steps, and what each phase trains."""

from pathlib import Path
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.model import DEFAULT_RANK, AdapterSpec
from thaw_api.search_space import objective, trial_count
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.wording import counted, rotation_text, settings_of, until_text
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import check_schedules, prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots


def plan_job(spec: FineTuneJobSpec, base: Path, scratch: Path) -> dict[str, Any]:
    """The plan of a job as JSON.

    Args:
        base: folder that relative file: URIs start from.
        scratch: an empty folder for the prepared data.

    Raises:
        TrainerError: whatever is wrong with data, model or schedule.
    """
    kind = find_task(spec.task)
    prepared = prepare_job(spec, kind, JobFiles(UriRoots(base), scratch))
    layout = prepared.layout
    return {
        "data": prepared.facts["counts"],
        "stepsPerEpoch": kind.open(spec, prepared.store_of(spec)).steps_per_epoch(),
        "model": {
            "parameters": layout.total,
            "tensors": len(layout.size) + len(layout.fixed),
            "blocks": layout.blocks,
            "stem": _whole(layout, -1),
            "head": _whole(layout, layout.blocks),
            "adapter": _adapter(spec.model.adapter, layout),
        },
        "search": {"trials": trial_count(spec), "epochs": spec.training.epochs, "metric": objective(spec)[0]},
        "frozen": {"norms": spec.freezing.frozen_norms, "dropout": spec.freezing.frozen_dropout},
        "prefixCache": _prefix_cache(prepared.prefixes[spec.model.uri], prepared.facts["counts"]),
        "phases": [_phase(phase, layout, _rates_are_searched(spec)) for phase in check_schedules(spec, layout)],
    }


def _rates_are_searched(spec: FineTuneJobSpec) -> bool:
    paths = [parameter.path for parameter in spec.search.parameters or ()]
    return any(path.startswith("training.optimizer.lr") or ".lr" in path for path in paths)


def _prefix_cache(plan: PrefixPlan, counts: dict[str, int]) -> dict[str, Any]:
    """What the cache would keep, where it pays: the blocks below each boundary, and how often its rows are passed."""
    return {
        "mode": plan.mode,
        "budget": plan.budget,
        "rows": counts["train"] + counts["validation"],
        "boundaries": [{"blocks": blocks, "passes": passes} for blocks, passes in sorted(plan.passes.items())],
    }


def _phase(phase: Phase, layout: Layout, searched: bool) -> dict[str, Any]:
    trained = phase.trained_in(0)
    rates = sorted(set(phase.lr.values()))
    lowest = min(layout.place[name] for name in phase.train)
    return {
        "name": phase.name,
        "until": until_text(phase.until),
        "parameters": _count(layout, list(trained)),
        "share": _count(layout, list(trained)) / layout.total,
        "tensors": len(trained),
        "lr": "searched"
        if searched
        else f"{rates[0]:.3g}"
        if len(rates) == 1
        else f"{rates[0]:.3g} to {rates[-1]:.3g}",
        "rates": [] if searched else [_at_rate(phase, layout, rate) for rate in reversed(rates)],
        "rotation": rotation_text(phase.rotation),
        "settings": settings_of(phase),
        "frozenBelow": "nothing" if lowest == -1 else "stem" if lowest == 0 else f"stem and {counted(lowest, 'block')}",
    }


def _at_rate(phase: Phase, layout: Layout, rate: float) -> dict[str, Any]:
    names = [name for name, own in phase.lr.items() if own == rate]
    places = sorted({layout.place[name] for name in names}, reverse=True)
    where = [_place(place, layout) for place in places]
    return {"lr": rate, "tensors": len(names), "parameters": _count(layout, names), "in": where}


def _place(place: int, layout: Layout) -> str:
    return "head" if place == layout.blocks else "stem" if place == -1 else f"block {place}"


def _adapter(adapter: AdapterSpec | None, layout: Layout) -> dict[str, Any] | None:
    """An adapter's size: with one, it is all that may be trained below the head."""
    if adapter is None:
        return None
    names = layout.names(-1, layout.blocks - 1)
    size = {"parameters": _count(layout, names), "tensors": len(names)}
    rank = {} if adapter.method == "ia3" else {"rank": adapter.rank or DEFAULT_RANK}
    return {"method": adapter.method} | rank | size


def _whole(layout: Layout, place: int) -> int:
    """Numbers at a place, those that nothing may train among them."""
    fixed = sum(size for name, size in layout.fixed.items() if layout.place_of_name[name] == place)
    return _count(layout, layout.names(place, place)) + fixed


def _count(layout: Layout, names: list[str]) -> int:
    return sum(layout.size[name] for name in names)
