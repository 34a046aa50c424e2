"""A model as stem < block 0 .. block L-1 < head: one vocabulary for every architecture."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError

_ABOVE_THE_BLOCKS = re.compile(r"(^|[._])(final|last|pooler|classifier|classification_head|score|head)([._]|$|_)")
_SMALL_STACK = 0.2


@dataclass(frozen=True)
class Layout:
    """Where each trainable tensor stands; a tensor that is tied stands once, under its first name, at its lowest place.

    `place` maps a tensor's name to -1 (stem), 0..L-1 (block) or L (head), in the order of the model's own definition.
    """

    place: dict[str, int]
    blocks: int
    size: dict[str, int]
    kind: dict[str, frozenset[str]]
    """A tensor's kinds: norm, bias, embedding."""
    aliases: dict[str, tuple[str, ...]]
    """Every name that a tensor goes by."""

    def names(self, first: int, last: int) -> list[str]:
        """Names of the tensors whose place is in first..last, both included."""
        return [name for name, place in self.place.items() if first <= place <= last]


def find_layout(model: nn.Module) -> Layout:
    """The layout of a module whose blocks are a homogeneous list of modules (nn.ModuleList or nn.Sequential).

    Several lists (encoder and decoder) are joined in order of definition; lists that run in parallel under one
    parent (XLM) are joined block by block.

    Raises:
        TrainerError: ModelUnreadable: the module has no such list.
    """
    stacks = _stacks(model)
    if not stacks:
        raise TrainerError(MODEL_UNREADABLE, f"{type(model).__name__} has no list of blocks that can be told apart")
    block_of_prefix = _number_blocks(stacks)
    blocks = max(block_of_prefix.values()) + 1
    modules = dict(model.named_modules(remove_duplicate=False))
    names_of: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(tensor), []).append(name)
    places = _places(list(_all_names(model)), block_of_prefix, blocks, modules)
    place, size, kind, aliases = {}, {}, {}, {}
    for name, tensor in model.named_parameters():
        names = names_of[id(tensor)]
        place[name] = min(places[each] for each in names)
        size[name] = tensor.numel()
        kind[name] = frozenset().union(*(_kinds(each, modules) for each in names))
        aliases[name] = tuple(names)
    return Layout(place, blocks, size, kind, aliases)


def _all_names(model: nn.Module) -> Iterator[str]:
    return (name for name, _ in model.named_parameters(remove_duplicate=False))


def _stacks(model: nn.Module) -> list[tuple[str, list[str]]]:
    """(name, prefixes of its blocks) of each list of blocks, outermost only, small ones left out."""
    found: list[tuple[str, list[str]]] = []
    weight: list[int] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer, _ in found) or not isinstance(
            module, (nn.ModuleList, nn.Sequential)
        ):
            continue
        children = [(key, child) for key, child in module.named_children() if any(True for _ in child.parameters())]
        alike = len({type(child) for _, child in children}) == 1
        if children and alike and (isinstance(module, nn.ModuleList) or len(children) > 1):
            found.append((name, [f"{name}.{key}" for key, _ in children]))
            weight.append(sum(tensor.numel() for tensor in module.parameters()))
    return [stack for stack, size in zip(found, weight, strict=True) if size >= _SMALL_STACK * max(weight)]


def _number_blocks(stacks: list[tuple[str, list[str]]]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    first_of: dict[tuple[str, int], int] = {}
    following = 0
    for name, prefixes in stacks:
        side_by_side = (name.rpartition(".")[0], len(prefixes))
        start = first_of.setdefault(side_by_side, following)
        following = max(following, start + len(prefixes))
        numbers |= {prefix: start + index for index, prefix in enumerate(prefixes)}
    return numbers


def _places(
    names: list[str], block_of_prefix: dict[str, int], blocks: int, modules: dict[str, nn.Module]
) -> dict[str, int]:
    """A tensor outside the blocks is in the stem when it comes before them or embeds, in the head when it comes after
    them or its name says so; between two stacks it goes with the block below."""
    places: dict[str, int] = {}
    below = -1
    for name in names:
        block = next((number for prefix, number in block_of_prefix.items() if name.startswith(f"{prefix}.")), None)
        if block is not None:
            places[name] = below = block
        elif "embedding" in _kinds(name, modules):
            places[name] = -1
        elif _ABOVE_THE_BLOCKS.search(name):
            places[name] = blocks
        else:
            places[name] = below
    last_block = max(
        index for index, name in enumerate(names) if 0 <= places[name] < blocks and _inside(name, block_of_prefix)
    )
    return {
        name: blocks if index > last_block and "embedding" not in _kinds(name, modules) else places[name]
        for index, name in enumerate(names)
    }


def _inside(name: str, block_of_prefix: dict[str, int]) -> bool:
    return any(name.startswith(f"{prefix}.") for prefix in block_of_prefix)


def _kinds(name: str, modules: dict[str, nn.Module]) -> frozenset[str]:
    owner, _, attribute = name.rpartition(".")
    kinds = set()
    if "norm" in type(modules[owner]).__name__.lower():
        kinds.add("norm")
    if attribute.endswith("bias"):
        kinds.add("bias")
    if isinstance(modules[owner], nn.Embedding):
        kinds.add("embedding")
    return frozenset(kinds)
