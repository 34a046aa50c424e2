"""Selectors: the words by which a manifest names sets of tensors.

    head  stem  norms  biases  embeddings  all  blocks  blocks[2]  blocks[a:b]  ~regular expression

A leading `!` takes tensors away from what the others in the list select. Where the model has an adapter, they mean its
tensors and the head: all else is fixed.
"""

import re
from collections.abc import Callable

from thaw_trainer.errors import SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.layout import Layout

_BLOCKS = re.compile(r"blocks(?:\[(-?\d+)\]|\[(-?\d*):(-?\d*)\])?$")
_KINDS = {"norms": "norm", "biases": "bias", "embeddings": "embedding"}
WORDS = "head, stem, norms, biases, embeddings, all, blocks[a:b], ~regex"


def select(layout: Layout, selectors: list[str], field: str) -> frozenset[str]:
    """Names of the tensors that a list of selectors means.

    Args:
        field: path of the list in the manifest, for errors.

    Raises:
        TrainerError: SelectorMatchesNothing, for a selector that is no word or that matches no tensor.
    """
    chosen: set[str] = set()
    taken_away: set[str] = set()
    for index, selector in enumerate(selectors):
        names = _matching(layout, selector.removeprefix("!"), f"{field}[{index}]")
        (taken_away if selector.startswith("!") else chosen).update(names)
    return frozenset(chosen - taken_away)


def _matching(layout: Layout, selector: str, field: str) -> set[str]:
    names = {name for name in layout.place if _predicate(layout, selector, field)(name)}
    if not names:
        raise TrainerError(
            SELECTOR_MATCHES_NOTHING,
            f"{selector!r} matches no tensor; the model has {layout.blocks} blocks (0 to {layout.blocks - 1})",
            field,
        )
    return names


def _predicate(layout: Layout, selector: str, field: str) -> Callable[[str], bool]:
    if selector == "all":
        return lambda name: True
    if selector == "head":
        return lambda name: layout.place[name] == layout.blocks
    if selector == "stem":
        return lambda name: layout.place[name] == -1
    if selector in _KINDS:
        return lambda name: _KINDS[selector] in layout.kind[name]
    if selector.startswith("~"):
        try:
            pattern = re.compile(selector[1:])
        except re.error as error:
            raise TrainerError(
                SELECTOR_MATCHES_NOTHING, f"{selector!r} is no regular expression: {error}", field
            ) from error
        return lambda name: any(pattern.search(alias) for alias in layout.aliases[name])
    match = _BLOCKS.match(selector)
    if match is None:
        raise TrainerError(SELECTOR_MATCHES_NOTHING, f"{selector!r} is no selector; write one of {WORDS}", field)
    wanted = _block_numbers(match, layout.blocks)
    return lambda name: layout.place[name] in wanted


def _block_numbers(match: re.Match[str], blocks: int) -> set[int]:
    single, start, stop = match.groups()
    every = range(blocks)
    if single is not None:
        return set(every[int(single) :][:1]) if -blocks <= int(single) < blocks else set()
    return set(every[int(start) if start else None : int(stop) if stop else None])
