"""Linear layers whose weights are held in four bits: NF4, its scales quantized too (QLoRA, arXiv 2305.14314), by
bitsandbytes.

It is an extra, `thaw[qlora]`, and imported only for a model that wants it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from thaw_trainer.errors import LIBRARY_MISSING, TrainerError


def check_library(field: str) -> Any:
    """bitsandbytes' modules.

    Raises:
        TrainerError: LibraryMissing.
    """
    try:
        import bitsandbytes
    except (ImportError, OSError) as error:
        message = f"qlora needs bitsandbytes, pip install 'thaw[qlora]': {error}"
        raise TrainerError(LIBRARY_MISSING, message, field) from error
    return bitsandbytes


def quantize(model: nn.Module, layers: Sequence[str], field: str) -> None:
    """Puts layers of four bits in the place of these linear ones, one after the other. They are fixed.

    A module on the meta device stays as it is: what is trained of it, and what that is called, is the same.

    Raises:
        TrainerError: LibraryMissing; or a weight that cannot be quantized where it is.
    """
    library = check_library(field)
    for name in layers:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear), "no other layer can be held in four bits"
        if layer.weight.is_meta:
            continue
        small = library.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            quant_type="nf4",
            device="meta",
        )
        weight = library.nn.Params4bit(layer.weight.detach(), requires_grad=False, quant_type="nf4", module=small)
        small.weight = weight.to(layer.weight.device)
        if small.weight.quant_state is None:
            message = f"bitsandbytes holds no weights in four bits on {layer.weight.device.type}"
            raise TrainerError(LIBRARY_MISSING, message, field)
        small.bias = layer.bias
        # Else it lays its weights out anew at the first validation, and computes in bfloat16 there.
        small.support_avx512bf16_for_cpu = False
        small.train(layer.training)
        _put(model, name, small)


def dequantize(model: nn.Module) -> None:
    """Puts plain linear layers in the place of those of four bits, with the numbers that those compute with."""
    found = [(name, module) for name, module in model.named_modules() if is_four_bits(module)]
    for name, layer in found:
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight = nn.Parameter(numbers_of(layer), requires_grad=False)
        plain.bias = layer.bias
        _put(model, name, plain.train(layer.training))


def numbers_of(layer: Any) -> torch.Tensor:
    """The weight that a layer of four bits computes with."""
    from bitsandbytes.functional import dequantize_4bit

    weight: torch.Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight.to(layer.compute_dtype)


def is_four_bits(module: nn.Module) -> bool:
    """Whether a module is a linear layer of four bits."""
    return hasattr(getattr(module, "weight", None), "quant_state") and hasattr(module, "compute_dtype")


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, key = name.rpartition(".")
    setattr(model.get_submodule(parent), key, module)
