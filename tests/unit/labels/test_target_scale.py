"""A number that is learned standardized comes out of the exported model in its own units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.unit.tiny_models import FAMILIES, family_config, token_ids
from thaw_trainer.labels.target_scale import TargetScale, output_layer

MEAN, DEVIATION = 1234.5, 67.8


def model_of(family: str) -> nn.Module:
    """A tiny regressor."""
    from transformers import AutoModelForSequenceClassification

    config = family_config(family)
    config.num_labels = 1
    torch.manual_seed(0)
    model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return model.eval()


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=token_ids()).logits
    return found


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_last_layer_takes_the_scale_in(family: str) -> None:
    model = model_of(family)
    assert output_layer(model) is not None
    scale = TargetScale.of(MEAN, DEVIATION, model)
    before = logits(model)
    scale.put_in(model)
    assert torch.allclose(logits(model), before * scale.factor + scale.shift, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("family", "shift"), [("bert", MEAN), ("roberta", MEAN), ("gpt2", 0.0), ("llama", 0.0)])
def test_a_last_layer_without_a_bias_takes_no_shift_in(family: str, shift: float) -> None:
    scale = TargetScale.of(MEAN, DEVIATION, model_of(family))
    assert scale.shift == shift
    labels = np.random.default_rng(0).normal(MEAN, DEVIATION, 10_000)
    assert np.sqrt(np.mean(((labels - scale.shift) / scale.factor) ** 2)) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_head_that_was_exported_goes_on_from_what_it_gave(family: str, tmp_path: Path) -> None:
    model = model_of(family)
    scale = TargetScale.of(MEAN, DEVIATION, model)
    before = logits(model)
    scale.put_in(model)
    tensors = {name: each.contiguous() for name, each in model.state_dict().items()}
    layer, _ = output_layer(model) or ("", None)
    save_file({name: each.clone() for name, each in tensors.items()}, tmp_path / "model.safetensors")
    scale.take_out(model, tmp_path)
    assert torch.allclose(logits(model), before, rtol=1e-4, atol=1e-4)
    without = {name: each.clone() for name, each in tensors.items() if not name.startswith(layer)}
    save_file(without, tmp_path / "model.safetensors")
    scale.take_out(model, tmp_path)
    assert torch.allclose(logits(model), before, rtol=1e-4, atol=1e-4), "a new head stays as it is"


def test_a_model_whose_last_layer_is_not_clear_is_trained_on_labels_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 1))
    scale = TargetScale.of(MEAN, DEVIATION, model)
    assert scale == TargetScale(0.0, 1.0)
    before = model(torch.ones(2, 3))
    scale.put_in(model)
    assert torch.equal(model(torch.ones(2, 3)), before)
