"""`thaw plan`: what each phase of a manifest would train."""

import tempfile
from pathlib import Path
from typing import Any

from thaw_api import FieldError, InvalidManifest
from thaw_cli.printing import Format, print_errors, print_object
from thaw_cli.run import INVALID, one_job


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
        f"search  {search['trials']} trials of at most {search['epochs']} epochs by {search['metric']}",
        "",
        f"{'phase':<10} {'until':<28} {'trained':>14} {'of all':>7} {'tensors':>8}  {'learning rate':<18} frozen below",
    ]
    return lines + [
        f"{phase['name']:<10} {phase['until']:<28} {phase['parameters']:>14,} {phase['share']:>7.1%} "
        f"{phase['tensors']:>8}  {phase['lr']:<18} {phase['frozenBelow']}"
        for phase in plan["phases"]
    ]
