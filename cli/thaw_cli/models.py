"""`thaw models`: what to start from, for a task, its data and a machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from thaw_api import FieldError, InvalidManifest
from thaw_cli.printing import Format, print_errors, print_object, table_lines
from thaw_cli.run import INVALID, one_job

if TYPE_CHECKING:
    from thaw_trainer.advice.proposals import Option
    from thaw_trainer.advice.question import Answer, Question

_COMMAND = "thaw models"


def propose_models(question: "Question", file: Path | None, overrides: list[str], fmt: Format) -> int:
    """Prints the proposals; returns the exit status."""
    from thaw_trainer.advice.question import answer
    from thaw_trainer.errors import TrainerError

    try:
        job = one_job(file, overrides) if file else None
        found = answer(question, job.spec if job else None, file.absolute().parent if file else None)
    except InvalidManifest as error:
        print_errors(str(file or _COMMAND), error.errors)
        return INVALID
    except TrainerError as error:
        print_errors(str(file or _COMMAND), [FieldError(error.field, error.message)])
        return INVALID
    if fmt in ("json", "yaml"):
        print_object(found.as_json(), fmt)
    elif fmt == "name":
        print("\n".join(each.model.uri for each in found.proposals if each.proposed))
    else:
        print("\n".join(_lines(found)))
    return 0


def _lines(found: "Answer") -> list[str]:
    device, work = found.device, found.work
    speed = max(device.float32, device.bfloat16) / 1e12
    trials = f", {work['trials']} trials one after the other" if work["trials"] > 1 else ""
    told = ", ".join(f"{name} {work[key]:g}" for key, name in _SETTINGS.items() if key in work)
    ways = list(dict.fromkeys(option.way for each in found.proposals for option in each.options))
    rows = []
    for each in found.proposals:
        cells = {option.way: _cell(option, each.proposed == option.way) for option in each.options}
        longest = "-" if each.model.longest is None else f"{each.model.longest:,}"
        size = f"{each.model.shape.parameters / 1e6:,.1f} M"
        rows.append([each.model.uri, size, longest, each.model.licence, *(cells.get(way, "-") for way in ways)])
    lines = [
        f"task    {found.task}: {told}{trials}",
        f"device  {device.name}: {speed:.3g} teraflops at {device.utilization:.0%}, {_gib(device.memory)} of memory",
        "",
        *table_lines(
            ["model", "parameters", "longest", "licence", *ways], rows, right=(1, 2, *range(4, 4 + len(ways)))
        ),
        "",
    ]
    chosen = [each for each in found.proposals if each.proposed]
    end = [f"start with {each.model.uri}, training {_MEANING[each.proposed or '']}" for each in chosen]
    return [*lines, *(end or ["none fits: more memory (--memory), more time (--time), shorter or fewer rows"]), _NOTE]


_SETTINGS = {
    "rows": "rows",
    "length": "length",
    "targetLength": "target",
    "epochs": "epochs",
    "batchSize": "batches of",
}
_MEANING = {
    "all": "everything (freezing.preset: none, or gradual)",
    "lora": "an adapter (model.adapter: {method: lora})",
    "top-2": "the top two blocks (freezing: {preset: last-n, depth: 2})",
    "head": "the head alone (freezing.preset: head-only)",
    "manifest": "as the manifest says",
}
_NOTE = "Estimates: a factor of two is no surprise. * is the proposal, ! is what does not fit."


def _cell(option: "Option", proposed: bool) -> str:
    mark = "* " if proposed else "! " if not option.fits else ""
    return f"{mark}{_gib(option.cost.memory)}, {_time(option.seconds)}"


def _gib(number: float) -> str:
    return f"{number / 2**30:.1f} GiB"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
