"""`thaw plan`: what each phase of a manifest would train."""

import tempfile
from pathlib import Path
from typing import Any

from thaw_api import FieldError, InvalidManifest
from thaw_cli.printing import Format, print_errors, print_object, table_lines
from thaw_cli.run import INVALID, one_job

_NUMBERS = (2, 3, 4)
"""Columns that are aligned to the right."""


def plan_manifest(file: Path, overrides: list[str], fmt: Format) -> int:
    """Prints the plan of a file's job; returns the exit status."""
    try:
        job = one_job(file, overrides)
    except InvalidManifest as error:
        print_errors(str(file), error.errors)
        return INVALID
    from thaw_trainer.environment import set_environment
    from thaw_trainer.errors import TrainerError

    set_environment()
    from thaw_trainer.planning import plan_job

    try:
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_job(job.spec, file.absolute().parent, Path(folder))
    except TrainerError as error:
        print_errors(str(file), [FieldError(error.field, error.message)])
        return INVALID
    if fmt in ("json", "yaml"):
        print_object(plan, fmt)
    elif fmt == "name":
        print("\n".join(phase["name"] for phase in plan["phases"]))
    else:
        print("\n".join(_lines(plan)))
    return 0


def _lines(plan: dict[str, Any]) -> list[str]:
    data, model, search = plan["data"], plan["model"], plan["search"]
    lines = [
        f"data    {data['train']} train, {data['validation']} validation, {data['test']} test rows; "
        f"{plan['stepsPerEpoch']} steps an epoch",
        f"model   {model['parameters']:,} parameters in {model['tensors']} tensors: stem {model['stem']:,}, "
        f"{model['blocks']} blocks, head {model['head']:,}",
        *_adapter(model["adapter"]),
        f"search  {search['trials']} trial{'s' * (search['trials'] > 1)} of at most {search['epochs']} epochs "
        f"by {search['metric']}",
        f"cache   {_cache(plan['prefixCache'])}",
        f"frozen  norms {plan['frozen']['norms']}, dropout {plan['frozen']['dropout']}",
        "",
    ]
    columns = ["phase", "until", "trained", "of all", "tensors", "learning rate", "frozen below"]
    rows = [
        [
            phase["name"],
            phase["until"],
            f"{phase['parameters']:,}",
            f"{phase['share']:.1%}",
            str(phase["tensors"]),
            phase["lr"],
            phase["frozenBelow"],
        ]
        for phase in plan["phases"]
    ]
    table = table_lines(columns, rows, right=_NUMBERS)
    notes = [note for phase in plan["phases"] for note in _notes(phase)]
    return [*lines, *table, *(["", *notes] if notes else [])]


def _adapter(adapter: dict[str, Any] | None) -> list[str]:
    if adapter is None:
        return []
    size = f"{adapter['parameters']:,} parameters in {adapter['tensors']} tensors"
    rank = f" of rank {adapter['rank']}" if "rank" in adapter else ""
    return [f"adapter {adapter['method']}{rank}: {size}; all else below the head is fixed"]


def _cache(cache: dict[str, Any]) -> str:
    kept = [f"{each['blocks']} ({each['passes']} times)" for each in cache["boundaries"]]
    if cache["mode"] == "never":
        return "off"
    if not kept:
        return "nothing: no phase has a frozen block below what it trains"
    return f"{cache['mode']}: what the lowest {', '.join(kept)} blocks give for {cache['rows']} rows"


def _notes(phase: dict[str, Any]) -> list[str]:
    """What a phase has that the table has no column for."""
    found = [phase["rotation"]] if phase["rotation"] else []
    found += ["; ".join(phase["settings"])] if phase["settings"] else []
    if len(phase["rates"]) > 1:
        found.append("rates " + ", ".join(f"{rate['lr']:.3g} {_where(rate)}" for rate in phase["rates"]))
    return [f"{phase['name']}: {note}" for note in found]


def _where(rate: dict[str, Any]) -> str:
    return str(rate["in"][0]) if len(rate["in"]) == 1 else f"{rate['tensors']} tensors"
