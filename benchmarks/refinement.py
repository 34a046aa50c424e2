"""What becomes of a search's best trials, on the quickstart's texts: the best trial alone, a soup of the best ones, the
best one trained once more on validation too, and half as many trials that begin with what an earlier search knows.

    python benchmarks/refinement.py [--trials 8]

Four whole jobs, each with the same rows, seeds and space; the warm one knows a search of other rows' split seed. What
counts is the test metric of what is exported, with its bootstrap interval.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from figures import QUICKSTART, quickstart_rows, save, timed

RESULT = Path(__file__).resolve().parent / "results" / "refinement.json"
THAW = Path(sys.executable).parent / "thaw"


def run(job: dict[str, Any], folder: Path, name: str, **search: Any) -> dict[str, Any]:
    """The result of one job."""
    spec = job["spec"] | {"search": job["spec"]["search"] | search, "output": {"uri": f"file:{name}"}}
    manifest = folder / f"{name}.yaml"
    manifest.write_text(yaml.safe_dump(job | {"spec": spec}), encoding="utf-8")
    timed([str(THAW), "run", str(manifest)])
    told: dict[str, Any] = json.loads((folder / name / "result.json").read_text(encoding="utf-8"))
    return told


def main() -> None:
    """Runs the benchmark."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, default=8)
    asked = options.parse_args()
    quickstart_rows(1)
    job = yaml.safe_load((QUICKSTART / "job.yaml").read_text(encoding="utf-8"))
    job["spec"]["data"]["train"]["uri"] = f"file:{QUICKSTART / 'data' / 'sections.csv'}"
    tpe: dict[str, Any] = {"algorithm": {"name": "tpe"}, "trials": asked.trials, "parallel": 1}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        other = json.loads(json.dumps(job))
        other["spec"]["data"]["split"]["seed"] = 1
        run(other, folder, "earlier", **tpe)
        jobs: dict[str, dict[str, Any]] = {
            "best trial": tpe,
            "soup": tpe | {"soup": 5},
            "refit": tpe | {"refit": "trainAndValidation"},
            "warm start": tpe | {"trials": asked.trials // 2, "warmStart": ["file:earlier"]},
        }
        told = {name: run(job, folder, name.replace(" ", "-"), **search) for name, search in jobs.items()}
    figures = []
    print(f"{'':12} {'trials':>6} {'validation':>10} {'test':>7}  interval of 95%   what was made")
    for name, result in told.items():
        low, high = result["testIntervals"]["accuracy"]
        best, made = (
            result["best"]["metrics"]["accuracy"],
            {key: result[key] for key in ("soup", "refit") if key in result},
        )
        print(
            f"{name:12} {len(result['trials']):6} {best:10.4f} {result['test']['accuracy']:7.4f}  "
            f"{low:.4f} to {high:.4f}  {json.dumps(made) if made else ''}"
        )
        told_of = {"job": name, "test": result["test"], "interval": [low, high], "best": result["best"]}
        figures.append(told_of | made)
    save(RESULT, {"trials": asked.trials, "jobs": figures})


if __name__ == "__main__":
    main()
