"""The commands' exit statuses and what they print, for those that read neither model nor data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.manifests import job
from thaw_cli.main import app

RUNNER = CliRunner()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job()), encoding="utf-8")
    return file


def test_a_valid_manifest_is_said_to_be_valid(manifest: Path) -> None:
    outcome = RUNNER.invoke(app, ["validate", str(manifest)])
    assert outcome.exit_code == 0
    assert "sections: valid" in outcome.stdout


def test_every_error_of_every_file_is_printed_and_the_status_is_2(manifest: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    outcome = RUNNER.invoke(
        app,
        ["validate", str(manifest), str(missing), "--set", "training.epochs=0", "--set", "training.batchSize=0"],
    )
    assert outcome.exit_code == 2
    assert "spec.training.epochs: " in outcome.stderr
    assert "spec.training.batchSize: " in outcome.stderr
    assert outcome.stderr.splitlines()[-1] == f"{missing}: no such file"


def test_json_has_a_verdict_for_each_file(manifest: Path, tmp_path: Path) -> None:
    outcome = RUNNER.invoke(app, ["validate", str(manifest), str(tmp_path / "none.yaml"), "-o", "json"])
    good, bad = json.loads(outcome.stdout)
    assert good["valid"] is True
    assert good["jobs"] == ["finetunejob.thaw.dev/sections"]
    assert bad["valid"] is False
    assert bad["errors"][0]["message"] == "no such file"


def test_names_are_what_kubectl_prints(manifest: Path) -> None:
    outcome = RUNNER.invoke(app, ["validate", str(manifest), "-o", "name"])
    assert outcome.stdout == "finetunejob.thaw.dev/sections\n"


def test_help_needs_neither_the_models_nor_the_trainer() -> None:
    program = (
        "import sys; sys.argv = ['thaw', '--help']\n"
        "from thaw_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'pydantic', 'thaw_api', 'thaw_trainer', 'torch', 'ray', 'yaml'} & sys.modules.keys()))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout.splitlines()[-1] == "[]"
