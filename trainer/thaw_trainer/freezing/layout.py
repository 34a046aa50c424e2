"""A model as stem < block 0 .. block L-1 < head: one vocabulary for every architecture."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod

from torch import Tensor, nn

from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.freezing.known_blocks import known_blocks, known_stages

_BLOCKS_FIELD = "spec.model.blocks"
_SMALL_LIST = 0.2
"""A list with less than this share of the largest list's numbers is no list of blocks, unless it runs beside one."""
_EMBEDS = re.compile(r"emb(?!\w*after)")
_COMES_LAST = re.compile(r"(^|[._])(final|last|after|out|pooler|classifier|score|head)([._]|$)")


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
    stacks: dict[str, tuple[str, ...]]
    """Name of each module that calls blocks one after another -> names of the blocks' modules."""
    block_modules: tuple[tuple[str, ...], ...]
    """Names of each block's modules: one, or several that run side by side."""
    stack_of: tuple[int, ...]
    """Number of each block's stack."""
    place_of_name: dict[str, int]
    """Where each name of a tensor stands by itself: a tied tensor has several; fixed ones stand here only."""
    fixed: dict[str, int] = field(default_factory=dict)
    """Size of each tensor that nothing may train."""

    @property
    def total(self) -> int:
        """Numbers of the whole model, those that nothing may train among them."""
        return sum(self.size.values()) + sum(self.fixed.values())

    def names(self, first: int, last: int) -> list[str]:
        """Names of the tensors whose place is in first..last, both included."""
        return [name for name, place in self.place.items() if first <= place <= last]


@dataclass(frozen=True)
class _Stack:
    """Blocks that one module calls in order. A block is several modules where lists run side by side (XLM)."""

    parent: str
    blocks: tuple[tuple[str, ...], ...]
    first: int
    """Number of the first block in the whole model."""

    @property
    def last(self) -> int:
        return self.first + len(self.blocks) - 1

    def block_of(self, name: str) -> int | None:
        """Number of the block that a tensor is in."""
        for number, modules in enumerate(self.blocks, start=self.first):
            if any(_is_inside(name, module) for module in modules):
                return number
        return None


_PLACED_BY_HAND: tuple[tuple[re.Pattern[str], Callable[[Sequence[_Stack]], int]], ...] = (
    # DeBERTa norms its relative embeddings, which every block reads, and convolves what block 0 gives.
    (re.compile(r"(^|\.)deberta\.encoder\.LayerNorm\."), lambda stacks: -1),
    (re.compile(r"(^|\.)deberta\.encoder\.conv\."), lambda stacks: 0),
    # What DETR and its kin ask of an image, every block of the decoder reads, and nothing below it.
    (re.compile(r"(^|\.)query_position_embeddings\."), lambda stacks: stacks[-1].first),
    (re.compile(r"(^|\.)decoder\.(query_scale|ref_point_head)\."), lambda stacks: stacks[-1].first),
)
"""What neither a tensor's name nor the order of definition tells, from the stacks."""


def find_layout(model: nn.Module, listed: Sequence[str] | None = None) -> Layout:
    """The layout of a module whose blocks are a homogeneous list of modules (nn.ModuleList or nn.Sequential).

    Several lists (encoder and decoder) are joined in order of definition; lists of equal length under one parent
    (XLM) are joined block by block. Tensors that are held fixed (sinusoidal positions, what an adapter is put on) have
    no place, so the module must be one that no phase has frozen yet.

    Args:
        listed: names of the blocks' modules, from the lowest up, for a module that has no such list. What is defined
            before the first of them is the stem, between two of them the lower one's, and what follows the head.

    Raises:
        TrainerError: ModelUnreadable: the module has no list of blocks, or not the modules that are listed.
    """
    listed = listed or known_blocks(model)
    stacks = [_listed_stack(model, listed)] if listed else _find_stacks(model)
    if not stacks:
        message = f"{type(model).__name__} has no list of blocks that can be told apart; name them"
        raise TrainerError(MODEL_UNREADABLE, message, _BLOCKS_FIELD)
    modules = dict(model.named_modules(remove_duplicate=False))
    names_of: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(tensor), []).append(name)
    kinds = {name: _kinds(name, modules) for names in names_of.values() for name in names}
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    places = _places_around(every, stacks[0], kinds) if listed else _places(every, stacks, kinds)
    place, size, kind, aliases, fixed = {}, {}, {}, {}, {}
    for name, tensor in model.named_parameters():
        if not tensor.requires_grad:
            fixed[name] = _numbers(tensor)
            continue
        names = names_of[id(tensor)]
        place[name] = min(places[each] for each in names)
        size[name] = tensor.numel()
        kind[name] = frozenset().union(*(kinds[each] for each in names))
        aliases[name] = tuple(names)
    blocks_of = {stack.parent: tuple(name for block in stack.blocks for name in block) for stack in stacks}
    return Layout(
        place=place,
        blocks=stacks[-1].last + 1,
        size=size,
        kind=kind,
        aliases=aliases,
        stacks=blocks_of,
        block_modules=tuple(block for stack in stacks for block in stack.blocks),
        stack_of=tuple(index for index, stack in enumerate(stacks) for _ in stack.blocks),
        place_of_name=places,
        fixed=fixed,
    )


def _listed_stack(model: nn.Module, listed: Sequence[str]) -> _Stack:
    modules = dict(model.named_modules())
    for index, name in enumerate(listed):
        field = f"{_BLOCKS_FIELD}[{index}]"
        if name not in modules or not any(True for _ in modules[name].parameters()):
            near = get_close_matches(name, modules, n=3)
            hint = f"; near: {', '.join(near)}" if near else ""
            raise TrainerError(
                MODEL_UNREADABLE, f"{type(model).__name__} has no module {name!r} with tensors{hint}", field
            )
        others = [other for place, other in enumerate(listed) if place != index]
        if name in others or any(_is_inside(name, other) for other in others):
            raise TrainerError(MODEL_UNREADABLE, f"{name!r} is in two blocks", field)
    return _Stack("", tuple((name,) for name in listed), 0)


def _places_around(names: list[str], stack: _Stack, kinds: dict[str, frozenset[str]]) -> dict[str, int]:
    """Places by order of definition alone, around blocks that were listed: what lies between two of them follows the
    lower one, and a norm right behind the last one, in the same container, is of it."""
    blocks = [stack.block_of(name) for name in names]
    ends = max((index for index, block in enumerate(blocks) if block is not None), default=-1)
    container = stack.blocks[-1][0].rpartition(".")[0]
    for index in range(ends + 1, len(names)):
        if not container or not _is_inside(names[index], container) or "norm" not in kinds[names[index]]:
            break
        ends = index
    places: dict[str, int] = {}
    last = -1
    for index, (name, block) in enumerate(zip(names, blocks, strict=True)):
        last = block if block is not None else last
        places[name] = last if index <= ends else stack.last + 1
    return places


def _find_stacks(model: nn.Module) -> list[_Stack]:
    """The stacks in order of definition; lists inside blocks and small lists are none."""
    blocks_of: dict[tuple[str, int], list[tuple[str, ...]]] = {}
    weight: dict[tuple[str, int], int] = {}
    lists: list[str] = []
    for name, module in model.named_modules():
        blocks = _block_names(name, module)
        if not blocks or any(_is_inside(name, outer) for outer in lists):
            continue
        lists.append(name)
        side_by_side = (name.rpartition(".")[0], len(blocks))
        blocks_of.setdefault(side_by_side, []).append(blocks)
        numbers = sum(tensor.numel() for tensor in module.parameters())
        weight[side_by_side] = weight.get(side_by_side, 0) + numbers
    stacks: list[_Stack] = []
    for key, parallel in blocks_of.items():
        if weight[key] >= _SMALL_LIST * max(weight.values()):
            first = stacks[-1].last + 1 if stacks else 0
            stacks.append(_Stack(key[0], tuple(zip(*parallel, strict=True)), first))
    return stacks


def _block_names(name: str, module: nn.Module) -> tuple[str, ...]:
    """Names of the blocks of a list of blocks; none for any other module."""
    if stages := known_stages(module):
        return tuple(f"{name}.{stage}".lstrip(".") for stage in stages)
    if not isinstance(module, (nn.ModuleList, nn.Sequential)):
        return ()
    blocks = {key: child for key, child in module.named_children() if any(True for _ in child.parameters())}
    alike = len({type(child) for child in blocks.values()}) == 1
    enough = isinstance(module, nn.ModuleList) or len(blocks) > 1
    return tuple(f"{name}.{key}".lstrip(".") for key in blocks) if alike and enough else ()


def _places(names: list[str], stacks: list[_Stack], kinds: dict[str, frozenset[str]]) -> dict[str, int]:
    """A place for every name of every tensor; `names` in order of definition.

    Outside the blocks a tensor belongs to what it is defined beside: embeddings to the stem; what comes before a
    stack's blocks is below them, what comes after is above them, and its name may say that it comes last.
    """
    head = stacks[-1].last + 1
    places: dict[str, int] = {}
    begun: list[_Stack] = []
    for name in names:
        stack = next((stack for stack in stacks if stack.block_of(name) is not None), None)
        if stack is not None and stack not in begun:
            begun.append(stack)
        within = max((s for s in stacks if _is_inside(name, s.parent)), key=lambda s: len(s.parent), default=None)
        rest = name.removeprefix(within.parent) if within else name
        by_hand = [place(stacks) for pattern, place in _PLACED_BY_HAND if pattern.search(name)]
        if by_hand:
            places[name] = by_hand[0]
        elif stack is not None:
            places[name] = stack.block_of(name) or 0
        elif "embedding" in kinds[name] or (within and _EMBEDS.search(rest)):
            places[name] = -1
        elif within is not None:
            over = within in begun or _COMES_LAST.search(rest)
            places[name] = _above(within, head) if over else within.first - 1
        elif _COMES_LAST.search(rest):
            places[name] = head
        else:
            places[name] = _above(begun[-1], head) if begun else -1
    return places


def _above(stack: _Stack, head: int) -> int:
    """The place of what follows a stack: the head, or between two stacks the block below."""
    return head if stack.last + 1 == head else stack.last


def _numbers(tensor: Tensor) -> int:
    """Numbers of a tensor, of which one that is held in four bits has two in a byte."""
    state = getattr(tensor, "quant_state", None)
    return tensor.numel() if state is None else int(prod(state.shape))


def _is_inside(name: str, module: str) -> bool:
    return not module or name.startswith(f"{module}.")


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
