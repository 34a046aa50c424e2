"""What a module returns, as data: nested tuples, lists and dicts of tensors and constants.

A structure is JSON, so that it can stand in an entry's description; the tensors are kept beside it in order.
"""

from typing import Any, TypeAlias

import torch

Structure: TypeAlias = dict[str, Any]


class UnknownStructure(Exception):
    """A module returns something that is not made of tensors and constants."""


def describe(output: Any) -> tuple[Structure, list[torch.Tensor]]:
    """A module's output as its structure and its tensors.

    Raises:
        UnknownStructure: with the type that is not known.
    """
    tensors: list[torch.Tensor] = []

    def visit(value: Any) -> Structure:
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            return {"tensor": len(tensors) - 1, "shape": list(value.shape), "dtype": str(value.dtype).split(".")[1]}
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"constant": value}
        for name, kind in (("tuple", tuple), ("list", list)):
            if type(value) is kind:
                return {name: [visit(each) for each in value]}
        if type(value) is dict:
            return {"dict": {key: visit(each) for key, each in value.items()}}
        raise UnknownStructure(type(value).__name__)

    return visit(output), tensors


def rebuild(structure: Structure, tensors: list[torch.Tensor]) -> Any:
    """The inverse of `describe`."""
    if "tensor" in structure:
        return tensors[structure["tensor"]]
    if "constant" in structure:
        return structure["constant"]
    if "dict" in structure:
        return {key: rebuild(each, tensors) for key, each in structure["dict"].items()}
    if "tuple" in structure:
        return tuple(rebuild(each, tensors) for each in structure["tuple"])
    return [rebuild(each, tensors) for each in structure["list"]]


def tensor_specs(structure: Structure) -> list[Structure]:
    """Shape and dtype of each tensor, in order."""
    if "tensor" in structure:
        return [structure]
    children = structure.get("tuple") or structure.get("list") or list(structure.get("dict", {}).values())
    return [spec for child in children for spec in tensor_specs(child)]


def nothing(structure: Structure, device: torch.device, writable: bool) -> Any:
    """An output of this structure that nothing may read: NaN (0 for integers) everywhere.

    Args:
        writable: in memory of its own, for a model that changes its tensors in place; otherwise in none.
    """
    tensors = []
    for spec in tensor_specs(structure):
        dtype = getattr(torch, spec["dtype"])
        value = float("nan") if dtype.is_floating_point else 0
        tensor = torch.full((), value, dtype=dtype, device=device).expand(spec["shape"])
        tensors.append(tensor.clone() if writable else tensor)
    return rebuild(structure, tensors)
