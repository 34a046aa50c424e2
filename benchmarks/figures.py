"""What the benchmarks share: commands that are timed, and result files that say what they depend on."""

import csv
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

QUICKSTART = Path(__file__).resolve().parents[1] / "examples" / "quickstart"
LIBRARIES = ("thaw", "ray", "torch", "transformers")


def quickstart_rows(count: int) -> tuple[list[str], list[list[str]]]:
    """Header and `count` rows of the quickstart's table, evenly from beginning to end.

    The table is made when it is not there.
    """
    table = QUICKSTART / "data" / "sections.csv"
    if not table.is_file():
        subprocess.run([sys.executable, str(QUICKSTART / "make_data.py"), str(table)], check=True)
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, [rows[index * len(rows) // count] for index in range(count)]


def timed(command: list[str]) -> tuple[float, str, float]:
    """When a command began (Unix time), what it prints, and the seconds that it takes; ends this one with its output
    when it fails."""
    moment, began = time.time(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return moment, done.stdout, seconds


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memoryGiB": round(psutil.virtual_memory().total / 2**30, 1),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def save(file: Path, figures: dict[str, Any]) -> None:
    """Writes a result file, with the date and the machine."""
    told = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), **figures}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
