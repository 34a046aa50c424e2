"""`thaw compare`: runs side by side, by what their result.json say."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thaw_cli.printing import Format, print_object, table_lines
from thaw_cli.run import INVALID

Result = dict[str, Any]


def compare_runs(folders: Sequence[Path], fmt: Format) -> int:
    """Prints the comparison of some output folders; returns the exit status."""
    results: dict[str, Result] = {}
    for folder in folders:
        file = folder / "result.json"
        try:
            results[str(folder)] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"{file}: no run has ended there: {error}", file=sys.stderr)
            return INVALID
    rows = comparison(results) + differences(list(folders))
    if fmt in ("json", "yaml"):
        print_object(rows, fmt)
    elif fmt == "name":
        print("\n".join(results))
    else:
        lines = [[row["what"], *map(_text, row["runs"].values())] for row in rows]
        print("\n".join(table_lines(["", *results], lines, right=range(1, len(results) + 1))))
        print("".join(f"\n{note}" for note in notes(results)), end="\n" * bool(notes(results)))
    return 0


def comparison(results: dict[str, Result]) -> list[dict[str, Any]]:
    """Rows of the comparison: `what`, and its value in each of the `runs`, null where a run has none."""

    def row(what: str, values: list[Any]) -> dict[str, Any]:
        return {"what": what, "runs": dict(zip(results, values, strict=True))}

    every = list(results.values())
    bests = [each.get("best") or {} for each in every]
    rows = [
        row("job", [each.get("job") for each in every]),
        row("task", [each.get("task") for each in every]),
        row("status", [each.get("status") for each in every]),
        row("test rows", [each.get("data", {}).get("rows", {}).get("test") for each in every]),
    ]
    for name in _names(each.get("test") for each in every):
        rows.append(row(f"test {name}", [each.get("test", {}).get(name) for each in every]))
        intervals = [each.get("testIntervals", {}).get(name) for each in every]
        if any(intervals):
            rows.append(row("  95% interval", intervals))
    for name in _names(best.get("metrics") for best in bests):
        rows.append(row(f"validation {name}", [best.get("metrics", {}).get(name) for best in bests]))
    for path in _names(best.get("parameters") for best in bests):
        rows.append(row(path, [best.get("parameters", {}).get(path) for best in bests]))
    rows.append(row("best epoch", [best.get("bestEpoch") for best in bests]))
    rows.append(row("trials", [len(each.get("trials", [])) for each in every]))
    rows.append(row("seconds", [each.get("seconds", {}).get("total") for each in every]))
    return rows


def differences(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """How much better each classifier is than the first run's on the same test rows; nothing where they are not of the
    same rows, or no classifiers."""
    if len(folders) < 2:
        return []
    import numpy as np

    from thaw_trainer.evaluation.paired import accuracy_difference, right_rows

    right = [right_rows(folder / "test-predictions.npz") for folder in folders]
    first = right[0]
    if first is None or any(each is None or each.keys() != first.keys() for each in right):
        return []
    flags = [np.asarray([each[row] for row in first]) for each in right if each is not None]
    found: list[Any] = [None, *(accuracy_difference(each, flags[0]) for each in flags[1:])]
    names = [str(folder) for folder in folders]
    values: dict[str, list[Any]] = {
        "test accuracy less the first's": [each and each.value for each in found],
        "  95% interval": [each and [each.low, each.high] for each in found],
    }
    return [{"what": what, "runs": dict(zip(names, each, strict=True))} for what, each in values.items()]


def notes(results: dict[str, Result]) -> list[str]:
    """What a reader must know before comparing numbers."""
    told = []
    if len({each.get("data", {}).get("fingerprint") for each in results.values()}) > 1:
        told.append("The runs have other rows in their splits: their metrics are not of the same test rows.")
    objectives = {tuple(each.get("objective", {}).values()) for each in results.values()}
    if len(objectives) > 1:
        told.append("The runs chose their best trial by other metrics.")
    return told


def _names(found: Any) -> list[str]:
    return list(dict.fromkeys(name for each in found for name in each or ()))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
