"""Adapters: low-rank updates (LoRA, arXiv 2106.09685; DoRA, arXiv 2402.09353) or factors (IA3, arXiv 2205.05638) in the
layers of any module, by peft. With QLoRA (arXiv 2305.14314) all linear layers of the blocks are held in four bits.

They are injected into the module, not wrapped around it, so all other names stay: an adapter's tensors are in the
block that their layer is in, and selectors, cache and checkpoints see them there.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from torch import nn

from thaw_api.model import DEFAULT_RANK, AdapterSpec, ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.models.four_bits import check_library, quantize

if TYPE_CHECKING:
    from peft import PeftConfig

NAME = "default"
"""What peft calls the adapter in names of tensors; its files do without."""

_FIELD = "spec.model.adapter"
_PART = re.compile(r"\.(?:lora|ia3)_")
_FACTOR = ".ia3_"
_NOT_CALLED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules that read the weights of their layers without calling them: an adapter there would do nothing."""
_SHOWN = 8


def with_adapter(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """The module with the spec's adapter, in place; without one, the module as it is.

    What is below the head and no adapter's is fixed from then on. The random tensors are drawn from torch's generator,
    layer by layer in the module's own order; the others are such that the module computes what it did before. All are
    float32, whatever the module is. A module on the meta device stays there.

    Raises:
        TrainerError: SelectorMatchesNothing, for targets that no layer has; ModelUnreadable.
    """
    if spec.adapter is None:
        return model
    from peft import inject_adapter_in_model

    layout = find_layout(model, spec.blocks)
    head = set(layout.names(layout.blocks, layout.blocks))
    four_bits = spec.adapter.method == "qlora"
    layers = _chosen_layers(model, layout, spec.adapter)
    if four_bits:
        whole = _never_small(model)
        linear = _layers_of_blocks(model, layout, (nn.Linear,))
        quantize(model, [name for name in linear if not whole & set(name.split("."))], f"{_FIELD}.method")
    try:
        with warnings.catch_warnings(), _told_of_four_bits(model, four_bits):
            warnings.simplefilter("ignore")  # what peft finds out by itself, such as that Conv1D is transposed
            inject_adapter_in_model(_peft_config(spec.adapter, model, layers), model, NAME)
    except ValueError as error:  # a rank that the groups of a convolution do not divide, say
        raise TrainerError(MODEL_UNREADABLE, f"peft cannot adapt {type(model).__name__}: {error}", _FIELD) from error
    for name, tensor in model.named_parameters():
        if name in head:
            tensor.requires_grad_(True)
        elif tensor.requires_grad:
            tensor.data = tensor.data.float()  # small steps would be lost in bfloat16
    if find_layout(model, spec.blocks).block_modules != layout.block_modules:
        message = f"with its adapter, the blocks of {type(model).__name__} cannot be told apart; name them"
        raise TrainerError(MODEL_UNREADABLE, message, "spec.model.blocks")
    return model


def _never_small(model: nn.Module) -> set[str]:
    """Names of layers whose weights the family's code wants in float32 whatever the others are: T5 brings what its last
    feed-forward layer reads to the type of that layer's weight, which in four bits is one of whole numbers."""
    lists = (getattr(model, name, None) for name in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"))
    return {str(name) for found in lists for name in found or ()}


def adapter_key(spec: ModelSpec) -> list[Any]:
    """What an adapter that is not trained yet adds to what decides the module's numbers.

    The random tensors do not decide any: they are multiplied by zeros; IA3's are ones.
    """
    if spec.adapter is None:
        return []
    import peft

    key = [spec.adapter.manifest(), peft.__version__]
    return [*key, check_library(_FIELD).__version__] if spec.adapter.method == "qlora" else key


def adapter_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """The layers that have an adapter, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]


def is_adapters(tensor: str) -> bool:
    """Whether a tensor's name is one of an adapter's."""
    return _PART.search(tensor) is not None


def is_factor(tensor: str) -> bool:
    """Whether a tensor's name is one of an adapter's that multiplies: one, and not zero, changes nothing."""
    return _FACTOR in tensor


def layer_of(tensor: str) -> str:
    """Name of the layer that an adapter's tensor belongs to."""
    return _PART.split(tensor, maxsplit=1)[0]


def is_called(name: str, target: str) -> bool:
    """Whether a target means a module, as peft matches them: by its name, or by the end of it."""
    return name == target or name.endswith(f".{target}")


@contextmanager
def _told_of_four_bits(model: Any, holds: bool) -> Iterator[None]:
    """peft goes by a mark of transformers' own quantized models."""
    if holds:
        model.is_loaded_in_4bit = True
    try:
        yield
    finally:
        if holds:
            del model.is_loaded_in_4bit


def _peft_config(adapter: AdapterSpec, model: nn.Module, layers: Sequence[str]) -> "PeftConfig":
    from peft import IA3Config, LoraConfig

    # peft goes by the ends of names: one outside the blocks may end as one inside is called.
    others = [name for name, _ in model.named_modules() if name not in layers]
    excluded = [name for name in others if any(is_called(name, layer) for layer in layers)] or None
    if adapter.method == "ia3":
        inputs = [name for name in layers if any(is_called(name, end) for end in _family_layers(model)[1])]
        return IA3Config(target_modules=list(layers), feedforward_modules=inputs, exclude_modules=excluded)
    rank = adapter.rank or DEFAULT_RANK
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if adapter.alpha is None else adapter.alpha,  # type: ignore[arg-type]
        lora_dropout=adapter.dropout or 0.0,
        use_dora=adapter.method == "dora",
        target_modules=list(layers),
        exclude_modules=excluded,
    )


def _chosen_layers(model: nn.Module, layout: Layout, adapter: AdapterSpec) -> list[str]:
    """Names of the layers that get an adapter: those that the targets name, or every linear layer of the blocks (what
    QLoRA, arXiv 2305.14314, found necessary to be as good as full fine-tuning), or with IA3 those that peft names for
    the family, which are keys, values and what feeds forward."""
    from transformers.pytorch_utils import Conv1D

    four_bits, targets = adapter.method == "qlora", adapter.targets
    linear = (nn.Linear,) if four_bits else (nn.Linear, Conv1D)
    convolutions = () if four_bits else (nn.Conv2d,) if adapter.method == "ia3" else (nn.Conv1d, nn.Conv2d)
    found = _layers_of_blocks(model, layout, linear if targets is None else (*linear, *convolutions))
    if four_bits and not found:
        message = f"{type(model).__name__} has no linear layer in its blocks that can be held in four bits"
        raise TrainerError(SELECTOR_MATCHES_NOTHING, message, f"{_FIELD}.method")
    if targets is None:
        if not found:
            message = f"{type(model).__name__} has no linear layer in its blocks; name others in targets"
            raise TrainerError(SELECTOR_MATCHES_NOTHING, message, f"{_FIELD}.targets")
        ends = _family_layers(model)[0] if adapter.method == "ia3" else ()
        return [name for name in found if any(is_called(name, end) for end in ends)] or found
    for target in targets:
        if not any(is_called(name, target) for name in found):
            message = f"{target!r} matches no linear layer or convolution in the blocks; {_near(target, found)}"
            raise TrainerError(SELECTOR_MATCHES_NOTHING, message, f"{_FIELD}.targets")
    return [name for name in found if any(is_called(name, target) for target in targets)]


def _family_layers(model: nn.Module) -> tuple[Sequence[str], Sequence[str]]:
    """Ends of names of the layers that IA3 scales in a family that peft knows, and of those among them whose input it
    scales, instead of what they give."""
    from peft.utils import constants

    family = getattr(getattr(model, "config", None), "model_type", "")
    return (
        constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(family, ()),
        constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(family, ()),
    )


def _layers_of_blocks(model: nn.Module, layout: Layout, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    """Layers of these kinds that are called and whose tensors are nobody else's: a tied one could not be merged."""
    blocks = [name for names in layout.block_modules for name in names]
    uses = Counter(id(tensor) for _, tensor in model.named_parameters(remove_duplicate=False))
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, kinds)
        and any(name == block or name.startswith(f"{block}.") for block in blocks)
        and all(uses[id(tensor)] == 1 for tensor in module.parameters())
        and not isinstance(model.get_submodule(name.rpartition(".")[0]), _NOT_CALLED)
    ]


def _near(target: str, layers: Sequence[str]) -> str:
    ends = dict.fromkeys(end for name in layers for end in _ends(name))
    near = get_close_matches(target, ends, n=3) or list(ends)[:_SHOWN]
    return f"near: {', '.join(near)}" if near else "there is none"


def _ends(name: str) -> list[str]:
    """A module's name, and with its parent's where that is no number."""
    *parents, last = name.split(".")
    ends = [last] if not re.fullmatch(r"\d+", last) else []
    return [*ends, f"{parents[-1]}.{last}"] if parents and not parents[-1].isdigit() else ends or [name]
