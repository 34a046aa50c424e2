"""A search over an adapter's rank, and a model in four bits: what is exported says what the run measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.run.workspace import Workspace
from tests.unit.tiny_causal import documents, save_causal
from thaw_trainer.data.store import PreparedStore, ragged


def test_the_best_adapter_is_exported_merged_and_for_peft(workspace: Workspace) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification as Model

    workspace.write(
        model={"uri": "file:model", "adapter": {"method": "lora", "rank": 2}},
        training={"epochs": 2, "batchSize": 16, "optimizer": {"lr": 0.01}},
        freezing={"preset": "last-n", "depth": 2},
        search={
            "algorithm": {"name": "grid"},
            "parameters": [{"path": "model.adapter.rank", "choice": {"values": [1, 3]}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    trained = {line["trial"]: line["report"]["trainable"] for line in workspace.reports()}
    block = 4 * (16 + 16) + 2 * (16 + 24)  # numbers for each rank
    assert trained[1] - trained[0] == 2 * 2 * block
    measured = np.load(workspace.output / "test-predictions.npz")
    (folder,) = (workspace.output / "prepared").iterdir()
    table = PreparedStore(folder).table("test")
    assert table["id"].to_pylist() == measured["id"].tolist()
    tokens, offsets = ragged(table["input_ids"])
    base = Model.from_pretrained(workspace.folder / "model", num_labels=3)
    models: list[Any] = [
        Model.from_pretrained(workspace.output / "model"),
        PeftModel.from_pretrained(base, str(workspace.output / "model" / "adapter")),
    ]
    for model in models:
        model.eval()
        for row, wanted in enumerate(measured["logits"]):
            ids = torch.from_numpy(tokens[offsets[row] : offsets[row + 1]].astype(np.int64))[None]
            with torch.inference_mode():
                assert np.allclose(model(input_ids=ids).logits[0].numpy(), wanted, atol=1e-5)


def test_a_model_in_four_bits_is_trained_by_two_workers_and_exported_as_it_was_measured(workspace: Workspace) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_causal(workspace.folder / "causal", family="llama")
    (workspace.folder / "texts.txt").write_text("\n\n".join(documents(120)), encoding="utf-8")
    workspace.write(
        task="causal-lm",
        model={"uri": "file:causal", "adapter": {"method": "qlora", "rank": 2}},
        data={"train": {"uri": "file:texts.txt"}, "split": {"validation": 0.2, "test": 0.2}},
        training={"epochs": 2, "batchSize": 8, "optimizer": {"lr": 0.02}},
        freezing={"preset": "last-n", "depth": 2},
        search={},
        cluster={"workersPerTrial": 2},
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    model = AutoModelForCausalLM.from_pretrained(workspace.output / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(workspace.output / "model")
    (folder,) = (workspace.output / "prepared").iterdir()
    texts = (workspace.folder / "texts.txt").read_text(encoding="utf-8").split("\n\n")
    total = count = 0.0
    for row in PreparedStore(folder).table("test")["id"].to_pylist():
        ids = torch.tensor([[*tokenizer(texts[row])["input_ids"], tokenizer.eos_token_id]])
        with torch.inference_mode():
            total += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert np.isclose(total / count, workspace.result()["test"]["loss"], atol=1e-5)
    assert (workspace.output / "model" / "adapter" / "adapter_model.safetensors").is_file()
