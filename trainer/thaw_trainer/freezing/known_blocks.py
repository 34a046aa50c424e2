"""The blocks of networks that keep them in no list of like modules: torchvision's, and timm's of the same names; and of
timm's backbones in a model of transformers.

A class that is not named here has its blocks found by `find_layout`, or named by `model.blocks`.
"""

import re

from torch import nn

_BLOCKS = {
    "ConvNeXt": (r"features\.\d+\.\d+|stages\.\d+\.blocks\.\d+", "CNBlock|ConvNeXtBlock"),
    "DenseNet": (r"features\.denseblock\d+", ""),
    "EfficientNet": (
        r"(features|blocks)\.\d+\.\d+",
        "(Fused)?MBConv|InvertedResidual|DepthwiseSeparableConv|EdgeResidual|ConvBnAct",
    ),
    "MNASNet": (r"layers\.\d+\.\d+", ""),
    "MobileNetV2": (r"features\.\d+", "InvertedResidual"),
    "MobileNetV3": (r"features\.\d+|blocks\.\d+\.\d+", "InvertedResidual|DepthwiseSeparableConv"),
    "RegNet": (r"trunk_output\.block\d+\.block\d+-\d+|s\d+\.b\d+", ""),
    "ResNet": (r"layer\d+\.\d+", ""),
    "SwinTransformer": (r"features\.\d+\.\d+|layers\.\d+\.blocks\.\d+", "SwinTransformerBlock"),
    "SwinTransformerV2": (r"features\.\d+\.\d+|layers\.\d+\.blocks\.\d+", "SwinTransformerV2?Block"),
    "VGG": (r"features\.\d+", "Conv2d"),
}
"""Class of the network -> pattern of its blocks' names, and of their class where the names take in more."""


def known_blocks(model: nn.Module) -> list[str] | None:
    """Names of the blocks' modules, from the lowest up; None for a network that is not known here. The network may be
    part of the model: a backbone with a head of ours."""
    for prefix, network in model.named_modules():
        if _library(network) in ("torchvision", "timm") and type(network).__name__ in _BLOCKS:
            pattern, kind = _BLOCKS[type(network).__name__]
            names = [name for name, module in network.named_modules() if _is_block(name, module, pattern, kind)]
            return [f"{prefix}.{name}".lstrip(".") for name in names] or None
    return None


def known_stages(module: nn.Module) -> list[str]:
    """Names, inside the module, of the stages of a network that timm has taken apart for what they give
    (`features_only`), from the lowest up; none for any other module."""
    stages = getattr(module, "return_layers", None)
    if _library(module) != "timm" or not isinstance(stages, dict):
        return []
    return [name for name in stages if any(True for _ in module.get_submodule(name).parameters())]


def _library(module: nn.Module) -> str:
    return type(module).__module__.partition(".")[0]


def _is_block(name: str, module: nn.Module, pattern: str, kind: str) -> bool:
    is_named = re.fullmatch(pattern, name) and (not kind or re.match(kind, type(module).__name__))
    return bool(is_named) and any(True for _ in module.parameters())
