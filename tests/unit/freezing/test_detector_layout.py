"""Detectors as stem < blocks < head: a backbone's stages, then the layers of encoder and decoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.tiny_objects import CONFIGS, yolos_config
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models.detector import build_empty
from thaw_trainer.prefix.cut import cut_below

TIMM = {"model_type": "timm_backbone", "backbone": "resnet50", "num_channels": 3, "features_only": True}
HEADS = "class_labels_classifier bbox_predictor"


def owners(model: nn.Module, place: int) -> set[str]:
    """The first parts of the names of the tensors at a place."""
    return {name.rpartition(".")[0] for name in find_layout(model).names(place, place)}


def starts(names: set[str], prefixes: str) -> bool:
    """Whether the names are below these prefixes, and each of them has some."""
    every = prefixes.split()
    return all(name.startswith(tuple(every)) for name in names) and all(
        any(name.startswith(prefix) for name in names) for prefix in every
    )


def detr_of_timm(kind: str = "detr") -> nn.Module:
    """As the hub has them: six layers each over timm's ResNet-50."""
    from transformers import CONFIG_MAPPING

    backbone = TIMM | {"out_indices": [1, 2, 3, 4], "use_pretrained_backbone": False}
    return build_empty(CONFIG_MAPPING[kind](backbone_config=backbone))


@pytest.mark.parametrize("kind", ["detr", "conditional_detr", "table-transformer"])
def test_a_detr_has_its_backbones_stages_then_encoder_then_decoder(kind: str) -> None:
    model = detr_of_timm(kind)
    layout = find_layout(model)
    assert layout.blocks == 4 + 6 + 6
    stages = [name.rpartition(".")[2] for (name,) in layout.block_modules[:4]]
    assert stages == ["layer1", "layer2", "layer3", "layer4"]
    assert layout.block_modules[4] == ("model.encoder.layers.0",)
    assert layout.block_modules[10] == ("model.decoder.layers.0",)
    assert layout.stack_of == (0,) * 4 + (1,) * 6 + (2,) * 6
    assert all("conv1" in name for name in owners(model, -1))
    assert "model.input_projection" in owners(model, 3)
    assert "model.query_position_embeddings" in owners(model, 10)
    assert starts({name for name in owners(model, 16) if "decoder" not in name}, HEADS)


@pytest.mark.parametrize("family", [family for family in CONFIGS if family != "yolos"])
def test_a_backbone_of_transformers_has_its_stages_too(family: str) -> None:
    layout = find_layout(build_empty(CONFIGS[family]()))
    assert layout.blocks == 2 + 2 + 2
    assert all("stages" in name for names in layout.block_modules[:2] for name in names)


def test_a_yolos_is_its_layers_between_embeddings_and_heads() -> None:
    model = build_empty(yolos_config())
    layout = find_layout(model)
    assert layout.blocks == 3
    assert starts(owners(model, 3), f"vit.layernorm {HEADS}")
    tokens = {"cls_token", "detection_tokens", "position_embeddings", "mid_position_embeddings"}
    assert tokens <= {name.rpartition(".")[2] for name in layout.names(-1, -1)}


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_block_reads_nothing_that_is_placed_above_it(family: str) -> None:
    from transformers import AutoModelForObjectDetection

    torch.manual_seed(0)
    model = AutoModelForObjectDetection.from_config(CONFIGS[family]()).requires_grad_(True).eval()
    layout = find_layout(model)
    outputs: dict[int, Any] = {}
    for block, names in enumerate(layout.block_modules):

        def remember(module: nn.Module, inputs: Any, output: Any, block: int = block) -> None:
            outputs[block] = output if isinstance(output, torch.Tensor) else output[0]

        model.get_submodule(names[-1]).register_forward_hook(remember)
    model(pixel_values=torch.randn(2, 3, 32, 32))
    assert len(outputs) == layout.blocks
    named = dict(model.named_parameters())
    for block, output in outputs.items():
        gradients = torch.autograd.grad(output.pow(2).sum(), list(named.values()), allow_unused=True, retain_graph=True)
        used = {name for name, each in zip(named, gradients, strict=True) if each is not None}
        assert not {name for name in used if layout.place[name] > block}, f"block {block}"


def test_an_encoder_that_lies_below_the_decoder_is_an_end_of_the_prefix() -> None:
    model = build_empty(CONFIGS["detr"]())
    cut = cut_below(model, find_layout(model), 5)
    assert [end[0] for end in cut.ends] == [
        "model.backbone.model.encoder.stages.1",
        "model.encoder.layers.1",
        "model.decoder.layers.0",
    ]
