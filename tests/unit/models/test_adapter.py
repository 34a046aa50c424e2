"""An adapter in the modules of every family: which layers get one, what they compute, what is left to train."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from tests.unit.tiny_models import FAMILIES, family_config, family_model, token_ids
from thaw_api.model import ModelSpec
from thaw_trainer.errors import SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.models.adapter import adapter_key, adapter_layers, with_adapter
from thaw_trainer.models.sequence_classifier import build_empty

WITHOUT_LINEAR_LAYERS = "squeezebert"
"""Its layers are convolutions."""
METHODS = ("lora", "dora", "ia3")


def model_spec(method: str = "lora", **adapter: Any) -> ModelSpec:
    return ModelSpec.model_validate({"uri": "file:model", "adapter": {"method": method, **adapter}})


def adapted(family: str = "bert", method: str = "lora", **adapter: Any) -> nn.Module:
    """A tiny model of a family with an adapter whose numbers are seeded."""
    model = family_model(family)
    torch.manual_seed(1)
    return with_adapter(model, model_spec(method, **adapter)).eval()


def shake(model: nn.Module) -> None:
    """As if it had been trained: B is no longer zero, no factor one."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if ".lora_B." in name:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            if ".lora_magnitude_vector." in name or ".ia3_l." in name:
                tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=generator))


def first_moved(layer: Any) -> nn.Parameter:
    """The tensor of a layer's adapter whose gradient is not zero from the first step on."""
    tensor: nn.Parameter = layer.ia3_l["default"] if hasattr(layer, "ia3_l") else layer.lora_B["default"].weight
    return tensor


def names_of_layers(model: nn.Module) -> list[str]:
    return [name for name, _ in adapter_layers(model)]


def linear_layers(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of every linear layer, by name."""
    found: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found[name] = module.in_features, module.out_features
        elif isinstance(module, Conv1D):
            rows, columns = module.weight.shape
            found[name] = rows, columns
    return found


def below_head(layout: Layout) -> int:
    return sum(layout.size[name] for name in layout.names(-1, layout.blocks - 1))


LINEAR_FAMILIES = sorted(FAMILIES.keys() - {WITHOUT_LINEAR_LAYERS})


@pytest.mark.parametrize("family", LINEAR_FAMILIES)
def test_every_linear_layer_of_the_blocks_gets_one_and_only_adapters_and_head_can_be_trained(family: str) -> None:
    plain = family_model(family)
    whole, linear = find_layout(plain), linear_layers(plain)
    blocks = tuple(f"{name}." for names in whole.block_modules for name in names)
    wanted = [name for name in linear if f"{name}.".startswith(blocks)]
    model = adapted(family, rank=3)
    layout = find_layout(model)
    assert names_of_layers(model) == wanted
    assert below_head(layout) == sum(3 * (inputs + outputs) for inputs, outputs in (linear[name] for name in wanted))
    head = whole.names(whole.blocks, whole.blocks)
    assert layout.names(layout.blocks, layout.blocks) == head
    assert all(".lora_" in name for name in layout.place.keys() - set(head))
    assert layout.total == sum(tensor.numel() for tensor in model.parameters())


@pytest.mark.parametrize("family", LINEAR_FAMILIES)
def test_an_adapter_is_in_the_block_of_its_layer(family: str) -> None:
    whole, layout = find_layout(family_model(family)), find_layout(adapted(family))
    assert (layout.blocks, layout.block_modules) == (whole.blocks, whole.block_modules)
    for name in layout.names(-1, layout.blocks - 1):
        layer = name.partition(".lora_")[0]
        assert layout.place[name] == whole.place_of_name[f"{layer}.weight"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", LINEAR_FAMILIES)
def test_it_changes_nothing_before_it_is_trained_and_every_layer_of_it_is_used(family: str, method: str) -> None:
    ids = token_ids()
    plain = family_model(family)(input_ids=ids).logits
    model = adapted(family, method)
    logits = model(input_ids=ids).logits
    assert torch.allclose(logits, plain, atol=1e-6)
    logits.square().sum().backward()
    unused = [
        name
        for name, layer in adapter_layers(model)
        if (first_moved(layer).grad is None or not first_moved(layer).grad.abs().sum())  # type: ignore[union-attr]
    ]
    assert unused == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_the_meta_device_has_the_same_layout(family: str, method: str) -> None:
    empty = with_adapter(build_empty(family_config(family)), model_spec(method))
    assert {tensor.device.type for tensor in empty.parameters()} == {"meta"}
    assert find_layout(empty) == find_layout(adapted(family, method))


@settings(deadline=None)  # it builds a model each time
@given(
    rank=st.integers(1, 9),
    alpha=st.none() | st.floats(0.5, 64),
    seed=st.integers(0, 99),
    family=st.sampled_from(["bert", "gpt2"]),
)
def test_a_layer_computes_w_x_plus_alpha_over_rank_b_a_x(
    rank: int, alpha: float | None, seed: int, family: str
) -> None:
    model = adapted(family, rank=rank, alpha=alpha)
    shake(model)
    scale = 2.0 if alpha is None else alpha / rank
    name, layer = adapter_layers(model)[seed % len(adapter_layers(model))]
    weight = layer.get_base_layer().weight.detach().double()
    weight = weight if family == "bert" else weight.T  # Conv1D: [inputs, outputs]
    bias = layer.get_base_layer().bias.detach().double()
    a, b = (getattr(layer, part)["default"].weight.detach().double() for part in ("lora_A", "lora_B"))
    x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(seed))
    wanted = x.double() @ (weight + scale * b @ a).T + bias
    assert torch.allclose(layer(x).double(), wanted, atol=1e-4), name


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_dora_layer_gives_each_output_its_own_magnitude(family: str) -> None:
    """m (W + alpha/r B A) / |W + alpha/r B A|, row by row (arXiv 2402.09353, equation 5)."""
    model = adapted(family, "dora", rank=2)
    shake(model)
    for name, layer in adapter_layers(model):
        weight, bias = layer.get_base_layer().weight.detach(), layer.get_base_layer().bias.detach()
        weight = weight if family == "bert" else weight.T
        a, b = (getattr(layer, part)["default"].weight.detach() for part in ("lora_A", "lora_B"))
        direction = weight + 2.0 * b @ a
        magnitude = layer.lora_magnitude_vector["default"].weight.detach()
        whole = magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True)
        x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(0))
        assert torch.allclose(layer(x), x @ whole.T + bias, atol=1e-4), name


def test_dora_has_a_magnitude_for_each_output() -> None:
    layers = linear_layers(family_model("bert"))
    model = adapted("bert", "dora", rank=2)
    chosen = names_of_layers(model)
    assert below_head(find_layout(model)) == sum(2 * sum(layers[name]) + layers[name][1] for name in chosen)


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others() -> None:
    def numbers(seed: int) -> dict[str, torch.Tensor]:
        model = family_model("bert")
        torch.manual_seed(seed)
        with_adapter(model, model_spec())
        return {name: tensor for name, tensor in model.named_parameters() if ".lora_A." in name}

    first, again, other = numbers(1), numbers(1), numbers(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    bound = 1 / math.sqrt(16)
    assert (
        0.5 * bound
        < max(float(tensor.detach().abs().max()) for tensor in first.values() if tensor.shape[1] == 16)
        <= bound
    )


@pytest.mark.parametrize(
    ("targets", "ends"),
    [
        (["query"], ("attention.self.query",)),
        (["query", "value"], ("attention.self.query", "attention.self.value")),
        (["attention.output.dense"], ("attention.output.dense",)),
        (["bert.encoder.layer.1.attention.self.key"], ("layer.1.attention.self.key",)),
        (["dense"], ("attention.output.dense", "intermediate.dense", "layer.0.output.dense")),
    ],
)
def test_targets_are_ends_of_names_and_the_head_gets_none(targets: list[str], ends: tuple[str, ...]) -> None:
    """BERT's pooler is called dense too."""
    names = names_of_layers(adapted("bert", targets=targets))
    inside = [name for name in linear_layers(family_model("bert")) if ".layer." in name]
    assert names == [name for name in inside if any(name == t or name.endswith(f".{t}") for t in targets)]
    assert {end for end in ends if any(name.endswith(end) for name in names)} == set(ends)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("querry", "near: query, self.query"),
        ("uery", "near: query"),
        ("classifier", "near: "),
        ("word_embeddings", "near: "),
        ("LayerNorm", "near: "),
        ("zzz", "near: query, self.query, key, self.key, value, self.value, dense, output.dense"),
    ],
)
def test_a_target_that_no_layer_has_is_refused_with_near_names(target: str, told: str) -> None:
    with pytest.raises(TrainerError, match=f"'{target}' matches no linear layer") as caught:
        adapted("bert", targets=["query", target])
    assert (caught.value.reason, caught.value.field) == (SELECTOR_MATCHES_NOTHING, "spec.model.adapter.targets")
    assert told in caught.value.message


def test_blocks_without_linear_layers_want_targets() -> None:
    with pytest.raises(TrainerError, match="no linear layer in its blocks") as caught:
        adapted(WITHOUT_LINEAR_LAYERS)
    assert caught.value.field == "spec.model.adapter.targets"
    assert len(names_of_layers(adapted(WITHOUT_LINEAR_LAYERS, targets=["query", "value"]))) == 6


def test_layers_whose_weights_are_read_by_others_get_none() -> None:
    """torch's attention reads the weight of its projection, and its encoder layer in eval mode those of both layers."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 1)
            self.linear = nn.Linear(4, 4)

    model = nn.Sequential(nn.Linear(4, 4), nn.ModuleList([Block(), Block()]), nn.Linear(4, 2))
    assert names_of_layers(with_adapter(model, model_spec())) == ["1.0.linear", "1.1.linear"]
    encoder = nn.Sequential(nn.Linear(4, 4), nn.ModuleList([nn.TransformerEncoderLayer(4, 1)]), nn.Linear(4, 2))
    with pytest.raises(TrainerError, match="no linear layer"):
        with_adapter(encoder, model_spec())


def test_a_layer_elsewhere_that_ends_as_one_of_a_block_is_called_gets_none() -> None:
    model = nn.Sequential()
    model.before = nn.Module()
    model.before.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2))])
    model.blocks = nn.ModuleList([nn.Sequential(nn.Linear(9, 9)) for _ in range(2)])
    model.head = nn.Linear(9, 2)
    assert names_of_layers(with_adapter(model, model_spec())) == ["blocks.0.0", "blocks.1.0"]


def test_listed_blocks_are_those_that_get_adapters() -> None:
    listed = [f"bert.encoder.layer.{number}" for number in (1, 2)]
    spec = model_spec().model_copy(update={"blocks": listed})
    model = with_adapter(family_model("bert"), spec)
    inside = [name for name in linear_layers(family_model("bert")) if name.startswith(tuple(listed))]
    assert names_of_layers(model) == inside
    assert find_layout(model, listed).names(-1, -1) == []


def test_a_rank_that_the_groups_of_a_convolution_do_not_divide_is_refused() -> None:
    blocks = nn.ModuleList([nn.Conv1d(4, 4, 1, groups=2) for _ in range(2)])
    model = nn.Sequential(nn.Linear(4, 4), blocks, nn.Linear(4, 2))
    with pytest.raises(TrainerError, match="peft cannot adapt") as caught:
        with_adapter(model, model_spec(rank=3, targets=["0", "1"]))
    assert caught.value.field == "spec.model.adapter"


def test_a_tied_layer_gets_none() -> None:
    blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2)])
    blocks[1][0].weight = blocks[0][0].weight  # type: ignore[index]
    model = nn.Sequential(nn.Linear(4, 4), blocks, nn.Linear(4, 2))
    assert names_of_layers(with_adapter(model, model_spec())) == ["1.0.1", "1.1.1"]


def test_a_bfloat16_model_has_an_adapter_in_float32_and_a_head_in_bfloat16() -> None:
    model = family_model("bert").to(torch.bfloat16)
    with_adapter(model, model_spec())
    layout = find_layout(model)
    types = {name: model.get_parameter(name).dtype for name in layout.place}
    assert {types[name] for name in layout.names(-1, 2)} == {torch.float32}
    assert {types[name] for name in layout.names(3, 3)} == {torch.bfloat16}
    assert model(input_ids=token_ids()).logits.dtype == torch.bfloat16


def test_every_setting_is_in_the_key() -> None:
    variants: list[dict[str, Any]] = [{}, {"rank": 4}, {"alpha": 3.0}, {"dropout": 0.1}, {"targets": ["query"]}]
    keys = [adapter_key(model_spec(**variant)) for variant in variants]
    keys += [adapter_key(model_spec(method)) for method in METHODS[1:]]
    assert len({str(key) for key in keys}) == len(keys)
    assert adapter_key(ModelSpec(uri="file:model")) == []
