"""A causal language model through a whole job: packed, searched, and tested once."""

from __future__ import annotations

import pytest
import torch

from tests.run.workspace import Workspace
from tests.unit.tiny_causal import documents, save_causal


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after a search of two trials over the top block."""
    workspace = Workspace(tmp_path_factory.mktemp("causal"))
    save_causal(workspace.folder / "model")
    (workspace.folder / "texts.txt").write_text("\n\n".join(documents(120)), encoding="utf-8")
    workspace.write(
        task="causal-lm",
        data={
            "train": {"uri": "file:texts.txt"},
            "split": {"validation": 0.2, "test": 0.2},
            "batching": {"strategy": "pack", "maxLength": 40},
        },
        training={"epochs": 2, "batchSize": 4},
        freezing={"preset": "last-n", "depth": 1, "cache": {"mode": "always"}},
        search={
            "algorithm": {"name": "grid"},
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "choice": {"values": [0.001, 0.01]}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return workspace


def test_the_result_has_the_loss_over_tokens_beside_a_unigram_model(trained: Workspace) -> None:
    result = trained.result()
    assert result["objective"] == {"metric": "loss", "mode": "min"}
    assert result["best"]["metrics"]["loss"] == min(trial["metrics"]["loss"] for trial in result["trials"])
    assert result["baseline"]["test"] > 1
    assert result["prefixCache"]["hits"] > 0
    assert 0 <= result["data"]["padding"] < 0.2


def test_the_exported_model_has_the_reported_test_loss(trained: Workspace) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from thaw_trainer.data.store import PreparedStore

    model = AutoModelForCausalLM.from_pretrained(trained.output / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(trained.output / "model")
    (folder,) = (trained.output / "prepared").iterdir()
    texts = (trained.folder / "texts.txt").read_text(encoding="utf-8").split("\n\n")
    total = count = 0.0
    for row in PreparedStore(folder).table("test")["id"].to_pylist():
        ids = torch.tensor([[*tokenizer(texts[row])["input_ids"], tokenizer.eos_token_id]])
        with torch.inference_mode():
            total += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert total / count == pytest.approx(trained.result()["test"]["loss"], abs=1e-5)


def test_report_and_card_show_how_the_model_goes_on_and_how_to_use_it(trained: Workspace) -> None:
    report = (trained.output / "report.html").read_text(encoding="utf-8")
    card = (trained.output / "model" / "README.md").read_text(encoding="utf-8")
    sample = trained.result()["samples"][0]
    assert sample["prompt"] in report
    assert "Baseline perplexity" in report
    assert "AutoModelForCausalLM" in card
    assert "pipeline_tag: text-generation" in card
    assert "standard error" not in card
    assert "Labels" not in card
    program = card.split("```python\n")[1].split("```")[0]
    namespace: dict[str, object] = {}
    exec(program.replace('folder = "."', f"folder = {str(trained.output / 'model')!r}"), namespace)  # noqa: S102
    assert namespace["found"] is not None
