from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.tiny_models import FAMILIES, family_config, family_model, token_ids
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.models.sequence_classifier import build_empty

BLOCKS = dict.fromkeys(FAMILIES, 3) | {"albert": 1, "bart": 5, "t5": 5, "mt5": 5, "umt5": 5}
"""ALBERT's blocks share their tensors; in an encoder with a decoder there are 2 and 3."""
HEADS = {
    "albert": "albert.pooler classifier",
    "bart": "classification_head",
    "bert": "bert.pooler classifier",
    "bloom": "transformer.ln_f score",
    "deberta": "pooler classifier",
    "deberta-v2": "pooler classifier",
    "distilbert": "pre_classifier classifier",
    "esm": "esm.encoder.emb_layer_norm_after esm.contact_head classifier",
    "falcon": "transformer.ln_f score",
    "gemma2": "model.norm score",
    "gpt2": "transformer.ln_f score",
    "gpt_neox": "gpt_neox.final_layer_norm score",
    "layoutlm": "layoutlm.pooler classifier",
    "llama": "model.norm score",
    "megatron-bert": "bert.encoder.ln bert.pooler classifier",
    "mistral": "model.norm score",
    "mobilebert": "mobilebert.pooler classifier",
    "modernbert": "model.final_norm head classifier",
    "opt": "model.decoder.project_out model.decoder.final_layer_norm score",
    "phi": "model.final_layernorm score",
    "qwen2": "model.norm score",
    "qwen3": "model.norm score",
    "rembert": "rembert.pooler classifier",
    "squeezebert": "transformer.pooler classifier",
    "xlm": "sequence_summary",
    "xlnet": "sequence_summary logits_proj",
} | dict.fromkeys(("t5", "mt5", "umt5"), "transformer.decoder.final_layer_norm classification_head")
"""Modules of the head; of the families that are not here, `classifier` alone."""
WITHOUT_CALLS = {"funnel", "squeezebert"}
"""Their blocks are not called as modules, so no hook hears of them."""


def modules_of(names: list[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in names}


def inside(module: str, modules: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in modules.split())


def tensors_in_use(model: nn.Module, output: torch.Tensor) -> set[str]:
    """Names of the tensors that an output was computed from."""
    names, tensors = zip(*(pair for pair in model.named_parameters() if pair[1].requires_grad), strict=True)
    gradients = torch.autograd.grad(output.double().pow(2).sum(), tensors, allow_unused=True, retain_graph=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


def outputs_of_blocks(model: nn.Module, layout: Layout) -> dict[int, torch.Tensor]:
    """What each block gives in a forward pass; of a block of several modules, what the last of them gives."""
    outputs: dict[int, torch.Tensor] = {}

    def remember(block: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[block] = output[0] if isinstance(output, tuple) else output

        return hook

    for module in (name for names in layout.stacks.values() for name in names):
        block = max(place for name, place in layout.place.items() if inside(name, module))
        model.get_submodule(module).register_forward_hook(remember(block))
    model(input_ids=token_ids())
    return outputs


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_its_blocks_and_its_head(family: str) -> None:
    layout = find_layout(build_empty(family_config(family)))
    head = modules_of(layout.names(layout.blocks, layout.blocks))
    assert layout.blocks == BLOCKS[family]
    assert all(layout.names(block, block) for block in range(layout.blocks))
    expected = HEADS.get(family, "classifier")
    assert all(inside(module, expected) for module in head), head
    assert all(any(inside(module, each) for module in head) for each in expected.split()), head


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stem_has_the_embeddings_of_words(family: str) -> None:
    model = build_empty(family_config(family))
    layout = find_layout(model)
    words = model.get_input_embeddings().weight  # type: ignore[operator]
    (name,) = (name for name, tensor in model.named_parameters() if tensor is words)
    assert layout.place[name] == -1
    assert "embedding" in layout.kind[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_is_placed_once(family: str) -> None:
    model = build_empty(family_config(family))
    layout = find_layout(model)
    trainable = [(name, tensor) for name, tensor in model.named_parameters() if tensor.requires_grad]
    assert list(layout.place) == [name for name, _ in trainable]
    assert sum(layout.size.values()) == sum(tensor.numel() for _, tensor in trainable)
    every = dict(model.named_parameters(remove_duplicate=False))
    aliases = [name for names in layout.aliases.values() for name in names]
    assert sorted(aliases) == sorted(name for name, tensor in every.items() if tensor.requires_grad)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - WITHOUT_CALLS))
def test_a_block_reads_nothing_that_is_placed_above_it(family: str) -> None:
    """What lies below the lowest trained tensor is a function of the input alone only if this holds."""
    model = family_model(family)
    layout = find_layout(model)
    outputs = outputs_of_blocks(model, layout)
    assert outputs
    for block, output in outputs.items():
        above = {name for name in tensors_in_use(model, output) if layout.place[name] > block}
        assert not above, f"block {block}"


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "gpt2", "llama", "modernbert", "roberta", "xlnet"])
def test_a_block_reads_its_own_tensors_and_the_stem(family: str) -> None:
    model = family_model(family)
    layout = find_layout(model)
    for block, output in outputs_of_blocks(model, layout).items():
        used = tensors_in_use(model, output)
        assert {layout.place[name] for name in used} == set(range(-1, block + 1))


def test_a_layout_of_a_model_without_numbers_is_that_of_one_with_them() -> None:
    assert find_layout(build_empty(family_config("bart"))) == find_layout(family_model("bart"))


def test_positions_that_the_model_holds_fixed_are_nobodys_to_train() -> None:
    model = family_model("roformer")
    fixed = {name for name, tensor in model.named_parameters() if not tensor.requires_grad}
    assert fixed == {"roformer.encoder.embed_positions.weight"}
    layout = find_layout(model)
    assert not fixed & layout.place.keys()
    assert layout.fixed.keys() == fixed
    assert layout.total == sum(tensor.numel() for tensor in model.parameters())


def test_lists_that_run_side_by_side_are_joined_block_by_block() -> None:
    layout = find_layout(family_model("xlm"))
    expected = {"attentions", "layer_norm1", "ffns", "layer_norm2"}
    for block in range(3):
        assert {name.split(".")[1] for name in layout.names(block, block)} == expected
        assert {name.split(".")[2] for name in layout.names(block, block)} == {str(block)}


def test_an_encoders_last_norm_is_below_the_decoder() -> None:
    layout = find_layout(family_model("t5"))
    assert layout.place["transformer.encoder.final_layer_norm.weight"] == 1
    assert layout.place["transformer.decoder.final_layer_norm.weight"] == layout.blocks


class Tied(nn.Module):
    """A head that is tied to the embedding, and a block that is tied to another."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.embed = nn.Embedding(8, 4)
        self.head = nn.Linear(4, 8, bias=False)
        self.head.weight = self.embed.weight
        self.layers[2].weight = self.layers[1].weight


def test_a_tied_tensor_stands_once_at_its_lowest_place() -> None:
    layout = find_layout(Tied())
    assert layout.place == {
        "layers.0.weight": 0,
        "layers.0.bias": 0,
        "layers.1.weight": 1,
        "layers.1.bias": 1,
        "layers.2.bias": 2,
        "embed.weight": -1,
    }
    assert layout.aliases["embed.weight"] == ("embed.weight", "head.weight")
    assert layout.kind["embed.weight"] == {"embedding"}


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(TrainerError, match="has no list of blocks") as caught:
        find_layout(nn.Linear(3, 3))
    assert caught.value.reason == MODEL_UNREADABLE


def test_modules_of_different_types_in_a_row_are_no_blocks() -> None:
    with pytest.raises(TrainerError):
        find_layout(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)))


def test_a_small_list_beside_the_blocks_is_none_of_them() -> None:
    model = nn.ModuleDict(
        {
            "blocks": nn.ModuleList([nn.Linear(16, 16) for _ in range(2)]),
            "scorer": nn.ModuleList([nn.Linear(2, 2)]),
        }
    )
    layout = find_layout(model)
    assert layout.blocks == 2
    assert modules_of(layout.names(2, 2)) == {"scorer.0"}


def test_norms_and_biases_are_told_by_module_and_name() -> None:
    layout = find_layout(family_model("llama"))
    norms = {name for name, kind in layout.kind.items() if "norm" in kind}
    assert norms == {name for name in layout.place if re.search("norm", name)}
    layout = find_layout(family_model("bert"))
    assert {name for name, kind in layout.kind.items() if "bias" in kind} == {
        name for name in layout.place if name.endswith(".bias")
    }


class Uneven(nn.Module):
    """Blocks of different kinds, one after another, as in a VGG."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.low = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.middle = nn.Linear(4, 4)
        self.between = nn.LayerNorm(4)
        self.high = nn.Bilinear(4, 4, 4)
        self.classifier = nn.Linear(4, 2)


def test_blocks_may_be_listed() -> None:
    with pytest.raises(TrainerError, match="name them"):
        find_layout(Uneven())
    layout = find_layout(Uneven(), ["low", "middle", "high"])
    assert layout.blocks == 3
    assert {name.split(".")[0]: place for name, place in layout.place.items()} == {
        "stem": -1,
        "low": 0,
        "middle": 1,
        "between": 1,
        "high": 2,
        "classifier": 3,
    }


@pytest.mark.parametrize(
    ("listed", "index", "message"),
    [
        (["low", "midle"], 1, "no module 'midle' with tensors; near: middle"),
        (["low", "low.0"], 1, "'low.0' is in two blocks"),
        (["low", "low"], 0, "'low' is in two blocks"),
        (["low.1"], 0, "no module 'low.1' with tensors"),
    ],
)
def test_a_list_of_blocks_that_the_module_does_not_have_is_refused(listed: list[str], index: int, message: str) -> None:
    with pytest.raises(TrainerError, match=message) as caught:
        find_layout(Uneven(), listed)
    assert caught.value.field == f"spec.model.blocks[{index}]"
