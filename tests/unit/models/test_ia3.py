"""IA3: which layers are scaled, on which side, and by what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.models.test_adapter import adapted, model_spec, names_of_layers, shake
from tests.unit.tiny_models import family_model
from thaw_api.freezing import FreezingSpec
from thaw_api.training import OptimizerSpec, TrainingSpec
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.schedule import resolve_schedule
from thaw_trainer.loop.optimizer import phase_optimizer
from thaw_trainer.models.adapter import adapter_layers, is_adapters, with_adapter

ENDS = {
    "bert": (("self.key", "self.value"), ("output.dense",)),
    "llama": (("k_proj", "v_proj"), ("down_proj",)),
    "gpt2": (("attn.c_attn",), ("mlp.c_proj",)),
}
"""Layers whose outputs are scaled, and whose inputs, in families that peft knows."""


@pytest.mark.parametrize("family", sorted(ENDS))
def test_a_family_that_peft_knows_has_the_layers_of_the_paper(family: str) -> None:
    outputs, inputs = ENDS[family]
    plain = family_model(family)
    blocks = tuple(f"{name}." for names in find_layout(plain).block_modules for name in names)
    wanted = {
        name: name.endswith(inputs)
        for name, _ in plain.named_modules()
        if name.startswith(blocks) and name.endswith((*outputs, *inputs))
    }
    found: dict[str, Any] = dict(adapter_layers(adapted(family, "ia3")))
    assert {name: layer.is_feedforward for name, layer in found.items()} == wanted
    assert wanted


@pytest.mark.parametrize("family", ["distilbert", "xlnet"])
def test_another_family_has_a_factor_for_each_output_of_every_linear_layer(family: str) -> None:
    layers = dict(adapter_layers(adapted(family, "ia3")))
    assert list(layers) == names_of_layers(adapted(family, "lora"))
    assert not any(layer.is_feedforward for layer in layers.values())


def test_targets_choose_layers_and_the_family_says_on_which_side() -> None:
    layers = dict(adapter_layers(adapted("bert", "ia3", targets=["query", "output.dense"])))
    assert {name.rpartition("layer.")[2][2:]: layer.is_feedforward for name, layer in layers.items()} == {
        "attention.self.query": False,
        "attention.output.dense": True,
        "output.dense": True,
    }


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_a_layer_computes_its_factors_times_what_it_gives_or_reads(family: str) -> None:
    model = adapted(family, "ia3")
    shake(model)
    for name, layer in adapter_layers(model):
        base = layer.get_base_layer()
        weight = base.weight.detach().double()
        weight = weight.T if family == "gpt2" else weight  # Conv1D: [inputs, outputs]
        bias = torch.zeros(len(weight)) if base.bias is None else base.bias.detach()
        factor = layer.ia3_l["default"].detach().double().flatten()
        x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(3))
        read = x.double() * factor if layer.is_feedforward else x.double()
        wanted = read @ weight.T + bias
        wanted = wanted if layer.is_feedforward else factor * wanted
        assert len(factor) == weight.shape[1 if layer.is_feedforward else 0]
        assert torch.allclose(layer(x).double(), wanted, atol=1e-5), name


def test_only_factors_and_head_can_be_trained_and_factors_are_not_decayed() -> None:
    model = adapted("bert", "ia3")
    layout = find_layout(model)
    head = set(layout.names(layout.blocks, layout.blocks))
    factors = {name for name in layout.place if is_adapters(name)}
    assert layout.place.keys() == head | factors
    assert all(name.endswith(".ia3_l.default") for name in factors)
    (phase,) = resolve_schedule(FreezingSpec(), TrainingSpec(), layout)
    optimizer = phase_optimizer(model, layout, phase, OptimizerSpec(weight_decay=0.3), None)
    decay = {id(tensor): group["weight_decay"] for group in optimizer.param_groups for tensor in group["params"]}
    named = dict(model.named_parameters())
    assert {decay[id(named[name])] for name in factors} == {0.0}
    assert decay[id(named["classifier.weight"])] == 0.3


def test_a_convolution_over_time_is_no_layer_for_it() -> None:
    blocks = nn.ModuleList([nn.Conv1d(4, 4, 1) for _ in range(2)])
    model = nn.Sequential(nn.Linear(4, 4), blocks, nn.Linear(4, 2))
    with pytest.raises(TrainerError, match="matches no linear layer") as caught:
        with_adapter(model, model_spec("ia3", targets=["0"]))
    assert caught.value.field == "spec.model.adapter.targets"
