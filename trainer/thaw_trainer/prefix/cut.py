"""Which modules a boundary leaves out.

A boundary is the place of the lowest trained tensor: blocks below it, and the stem, compute the same for a row in every
epoch of every trial.
"""

from dataclasses import dataclass

from torch import nn

from thaw_trainer.freezing.layout import Layout


@dataclass(frozen=True)
class Cut:
    """A model below a boundary, as names of modules.

    `ends` are what the rest of the model reads of the frozen part: the blocks right below the boundary, and the last
    block of each stack that lies wholly below it (an encoder that a decoder attends to). One tuple of modules for each,
    of which the one that is called last gives the block's output. `inner` are all other modules below the boundary.
    """

    boundary: int
    ends: tuple[tuple[str, ...], ...]
    inner: tuple[str, ...]


def boundary_of(layout: Layout, train: frozenset[str]) -> int:
    """Place of the lowest trained tensor: -1 (nothing is frozen below) to L (only the head is trained)."""
    return min(layout.place[name] for name in train)


def cut_below(model: nn.Module, layout: Layout, boundary: int) -> Cut:
    """The cut at a boundary of 1..L."""
    ends, inner = [], _stem_modules(model, layout)
    for number, modules in enumerate(layout.block_modules[:boundary]):
        over = number + 1 == boundary or layout.stack_of[number] != layout.stack_of[number + 1]
        if over:
            ends.append(modules)
        else:
            inner.extend(modules)
    return Cut(boundary, tuple(ends), tuple(inner))


def _stem_modules(model: nn.Module, layout: Layout) -> list[str]:
    """The outermost modules whose every tensor is of the stem, by all of its names: a head that is tied to the
    embeddings is none."""
    found: list[str] = []

    def visit(name: str, module: nn.Module) -> None:
        places = {layout.place_of_name[f"{name}.{each}".lstrip(".")] for each, _ in _tensors(module)}
        if places == {-1}:
            found.append(name)
        elif -1 in places:
            for key, child in module.named_children():
                visit(f"{name}.{key}".lstrip("."), child)

    visit("", model)
    return found


def _tensors(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(module.named_parameters(remove_duplicate=False))
