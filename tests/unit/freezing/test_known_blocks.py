"""Networks of torchvision and timm as stem < blocks < head, compared with what their papers draw."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from thaw_trainer.freezing.known_blocks import known_blocks
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models.image_classifier import without_numbers


def of_torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model

    return without_numbers(lambda: get_model(name, weights=None))


def of_timm(name: str) -> nn.Module:
    import timm

    return without_numbers(lambda: timm.create_model(name, pretrained=False))


NETWORKS: list[tuple[Any, str, int, str, str]] = [
    (of_torchvision, "resnet18", 8, "conv1 bn1", "fc"),
    (of_torchvision, "resnet50", 16, "conv1 bn1", "fc"),
    (of_torchvision, "wide_resnet50_2", 16, "conv1 bn1", "fc"),
    (of_torchvision, "vgg16", 13, "", "classifier.0 classifier.3 classifier.6"),
    (of_torchvision, "vgg11_bn", 8, "", "classifier.0 classifier.3 classifier.6"),
    (of_torchvision, "vit_b_16", 12, "conv_proj class_token encoder.pos_embedding", "encoder.ln heads.head"),
    (of_torchvision, "convnext_tiny", 18, "features.0.0 features.0.1", "classifier.0 classifier.2"),
    (of_torchvision, "densenet121", 4, "features.conv0 features.norm0", "classifier"),
    (of_torchvision, "efficientnet_b0", 16, "features.0.0 features.0.1", "features.8.0 features.8.1 classifier.1"),
    (of_torchvision, "mobilenet_v2", 17, "features.0.0 features.0.1", "features.18.0 features.18.1 classifier.1"),
    (
        of_torchvision,
        "mobilenet_v3_small",
        11,
        "features.0.0 features.0.1",
        "features.12.0 features.12.1 classifier.0 classifier.3",
    ),
    (of_torchvision, "regnet_y_400mf", 16, "stem.0 stem.1", "fc"),
    (of_torchvision, "swin_t", 12, "features.0.0 features.0.2", "norm head"),
    (of_timm, "resnet18", 8, "conv1 bn1", "fc"),
    (of_timm, "vgg16", 13, "", "pre_logits.fc1 pre_logits.fc2 head.fc"),
    (of_timm, "vit_tiny_patch16_224", 12, "cls_token pos_embed patch_embed.proj", "norm head"),
    (of_timm, "convnext_tiny", 18, "stem.0 stem.1", "head.norm head.fc"),
    (of_timm, "efficientnet_b0", 16, "conv_stem bn1", "conv_head bn2 classifier"),
]
"""Builder, name, blocks, modules (or tensors) of the stem and of the head."""


@pytest.mark.parametrize(
    ("build", "name", "blocks", "stem", "head"), NETWORKS, ids=[f"{n[0].__name__}-{n[1]}" for n in NETWORKS]
)
def test_stem_blocks_and_head(build: Any, name: str, blocks: int, stem: str, head: str) -> None:
    layout = find_layout(build(name))

    def owners(place: int) -> str:
        names = layout.names(place, place)
        modules = [each.rpartition(".")[0] if each.endswith((".weight", ".bias")) else each for each in names]
        return " ".join(dict.fromkeys(modules))

    assert layout.blocks == blocks
    assert set(owners(-1).split()) == set(stem.split())
    assert owners(blocks) == head
    sizes = [sum(layout.size[each] for each in layout.names(place, place)) for place in range(blocks)]
    assert all(sizes)


def test_a_norm_behind_a_convolution_is_of_its_block() -> None:
    layout = find_layout(of_torchvision("vgg11_bn"))
    assert layout.place["features.0.weight"] == layout.place["features.1.weight"] == 0
    assert layout.place["features.4.weight"] == layout.place["features.5.bias"] == 1


def test_a_transition_of_a_densenet_is_of_the_block_before() -> None:
    layout = find_layout(of_torchvision("densenet121"))
    assert layout.place["features.transition1.conv.weight"] == 0
    assert layout.place["features.denseblock2.denselayer1.conv1.weight"] == 1


def test_what_the_manifest_lists_comes_before_what_is_known() -> None:
    layout = find_layout(of_torchvision("resnet18"), ["layer1", "layer2", "layer3", "layer4"])
    assert layout.blocks == 4


def test_a_class_of_the_same_name_elsewhere_is_not_known() -> None:
    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer1 = nn.Sequential(nn.Linear(2, 2))

    assert known_blocks(ResNet()) is None
