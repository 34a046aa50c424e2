"""After the search: the best trials averaged, or the best one trained once more; and a search that knows an earlier
one. Each is compared with what the files of a run hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from tests.manifests import parameter
from tests.run.workspace import Workspace, make_workspace

LR = "training.optimizer.lr"
SEARCH: dict[str, Any] = {
    "trials": 4,
    "parallel": 1,
    "objective": {"metric": "loss"},
    "parameters": [parameter(LR, logUniform={"min": 1e-3, "max": 1e-2})],
}


@pytest.fixture(scope="module")
def stirred(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A search whose best trials were averaged."""
    workspace = make_workspace(tmp_path_factory.mktemp("soup"))
    workspace.write(search=SEARCH | {"soup": 3}, training={"epochs": 3, "batchSize": 16})
    ran = workspace.thaw("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\nsoup " in ran.stdout
    return workspace


def test_an_average_is_exported_when_validation_is_better_by_it(stirred: Workspace) -> None:
    result = stirred.result()
    soup, values = result["soup"], [trial["metrics"]["loss"] for trial in result["trials"]]
    assert soup["tried"] == 3
    assert soup["members"][0] == result["best"]["trial"]
    assert soup["alone"] == pytest.approx(min(values), abs=1e-6)
    told = np.load(stirred.output / "validation-predictions.npz")
    logits = told["logits"].astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), told["label"]]
    assert losses.mean() == pytest.approx(soup["soup"], abs=1e-5), "what is exported is what was measured"
    assert (len(soup["members"]) > 1) == (soup["soup"] < soup["alone"])
    assert AutoModelForSequenceClassification.from_pretrained(stirred.output / "model").num_labels == 3


def test_a_search_begins_with_what_another_knows_and_its_best_is_trained_on_all_rows(stirred: Workspace) -> None:
    search = SEARCH | {"trials": 2, "algorithm": {"name": "tpe"}, "warmStart": ["file:out"]}
    stirred.write(
        search=search | {"refit": "trainAndValidation"},
        training={"epochs": 3, "batchSize": 16},
        output={"uri": "file:refit"},
    )
    ran = stirred.thaw("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    result = stirred.result(stirred.folder / "refit")
    rows = result["data"]["rows"]
    assert result["refit"]["rows"] == rows["train"] + rows["validation"]
    assert result["refit"]["epochs"] == result["best"]["bestEpoch"]
    assert result["calibration"] is None, "no row is left to fit a temperature on"
    assert f"trained once more on {result['refit']['rows']} rows" in ran.stdout
    validation = np.load(stirred.folder / "refit" / "validation-predictions.npz")
    assert len(validation["label"]) == rows["validation"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parameters": [parameter(LR, logUniform={"min": 1e-6, "max": 1e-5})]}, "which this search does not try"),
        ({"parameters": [parameter("training.seed", int={"min": 0, "max": 9})]}, "this search is over training.seed"),
        ({"objective": {"metric": "accuracy"}}, "was searched by loss (min); this search is by accuracy (max)"),
    ],
)
def test_a_warm_start_from_another_space_is_refused(stirred: Workspace, changes: dict[str, Any], told: str) -> None:
    search = SEARCH | {"algorithm": {"name": "tpe"}, "warmStart": ["file:out"]} | changes
    stirred.write(search=search, output={"uri": "file:other"})
    ran = stirred.thaw("run")
    assert ran.returncode == 2
    assert "spec.search.warmStart[0]: " in ran.stderr
    assert told in ran.stderr


def test_a_warm_start_from_nowhere_is_refused(stirred: Workspace) -> None:
    stirred.write(search=SEARCH | {"algorithm": {"name": "tpe"}, "warmStart": ["file:nothing"]})
    ran = stirred.thaw("run", "--output", str(Path(stirred.folder) / "nowhere"))
    assert ran.returncode == 2
    assert "spec.search.warmStart[0]: " in ran.stderr
