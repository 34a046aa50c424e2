"""A search over an adapter's rank: what it exports says what the run measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.run.workspace import Workspace
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
