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

    `ends` are what the rest of the model reads of the frozen part: the block right below the boundary, and the last
    block of each stack that lies wholly below it (an encoder that a decoder attends to). One tuple of modules for each,
    what follows the block included (a norm, a convolution): the one that is called last gives the output. `inner` are
    all other modules below the boundary. A stack's own embeddings and norms compute as ever: every block may read them
    (relative positions), and they cost little.
    """

    boundary: int
    ends: tuple[tuple[str, ...], ...]
    inner: tuple[str, ...]


def boundary_of(layout: Layout, train: frozenset[str]) -> int:
    """Place of the lowest trained tensor: -1 (nothing is frozen below) to L (only the head is trained)."""
    return min(layout.place[name] for name in train)


def cut_below(model: nn.Module, layout: Layout, boundary: int) -> Cut:
    """The cut at a boundary of 1..L."""
    ends, inner = [], [name for name in _modules_at(model, layout, -1) if not _is_shared_by_blocks(model, layout, name)]
    for number, modules in enumerate(layout.block_modules[:boundary]):
        over = number + 1 == boundary or layout.stack_of[number] != layout.stack_of[number + 1]
        if over:
            follow = _modules_at(model, layout, number, outside=modules)
            own = layout.stack_of[number]
            ends.append(
                (*modules, *(name for name in follow if not _is_shared_by_blocks(model, layout, name, own + 1)))
            )
        else:
            inner.extend(modules)
    return Cut(boundary, tuple(ends), tuple(inner))


def _modules_at(model: nn.Module, layout: Layout, place: int, outside: tuple[str, ...] = ()) -> list[str]:
    """The outermost modules, `outside` left out, whose every tensor is at a place by all of its names: a head that is
    tied to the embeddings is not of the stem."""
    found: list[str] = []

    def visit(name: str, module: nn.Module) -> None:
        names = (f"{name}.{each}".lstrip(".") for each, _ in module.named_parameters(remove_duplicate=False))
        places = {layout.place_of_name[each] for each in names}
        if name in outside or place not in places:
            return
        if places == {place}:
            found.append(name)
        else:
            for key, child in module.named_children():
                visit(f"{name}.{key}".lstrip("."), child)

    visit("", model)
    return found


def _is_shared_by_blocks(model: nn.Module, layout: Layout, name: str, first: int = 0) -> bool:
    """Whether a module is a stack's own embedding or norm, of stack number `first` or a later one: it is defined before
    the stack's blocks, and may be called behind them (wav2vec2's norm)."""
    inside_a_stack = any(stack and name.startswith(f"{stack}.") for stack in list(layout.stacks)[first:])
    kind = type(model.get_submodule(name)).__name__.lower()
    return inside_a_stack and ("embedding" in kind or "norm" in kind)
