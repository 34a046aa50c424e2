from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny_models import family_model
from thaw_trainer.errors import SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.freezing.selectors import select

FIELD = "spec.freezing.phases[0].train"


def layout_of(blocks: int) -> Layout:
    """A stem, blocks of a weight and a norm, and a head; the embedding is tied to an output."""
    place = {"embed.weight": -1, "embed.norm": -1}
    place |= {f"layers.{block}.{name}": block for block in range(blocks) for name in ("weight", "bias", "norm")}
    place |= {"head.weight": blocks, "head.bias": blocks}
    kinds = {"norm": frozenset({"norm"}), "bias": frozenset({"bias"})}
    kind = {name: kinds.get(name.rpartition(".")[2], frozenset[str]()) for name in place}
    kind["embed.weight"] = frozenset({"embedding"})
    aliases: dict[str, tuple[str, ...]] = {name: (name,) for name in place}
    aliases["embed.weight"] = ("embed.weight", "output.weight")
    return Layout(place, blocks, dict.fromkeys(place, 1), kind, aliases, {}, (), (), {})


LAYOUT = layout_of(4)


def chosen(*selectors: str, layout: Layout = LAYOUT) -> set[str]:
    return set(select(layout, list(selectors), FIELD))


def blocks(*numbers: int) -> set[str]:
    return {f"layers.{number}.{name}" for number in numbers for name in ("weight", "bias", "norm")}


HEAD, STEM = {"head.weight", "head.bias"}, {"embed.weight", "embed.norm"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("all", HEAD | STEM | blocks(0, 1, 2, 3)),
        ("head", HEAD),
        ("stem", STEM),
        ("embeddings", {"embed.weight"}),
        ("norms", {"embed.norm"} | {f"layers.{block}.norm" for block in range(4)}),
        ("biases", {"head.bias"} | {f"layers.{block}.bias" for block in range(4)}),
        ("blocks", blocks(0, 1, 2, 3)),
        ("blocks[0]", blocks(0)),
        ("blocks[3]", blocks(3)),
        ("blocks[-1]", blocks(3)),
        ("blocks[-4]", blocks(0)),
        ("blocks[:]", blocks(0, 1, 2, 3)),
        ("blocks[1:3]", blocks(1, 2)),
        ("blocks[-2:]", blocks(2, 3)),
        ("blocks[:-1]", blocks(0, 1, 2)),
        ("blocks[2:99]", blocks(2, 3)),
        (r"~layers\.[02]\.bias", {"layers.0.bias", "layers.2.bias"}),
        ("~^output", {"embed.weight"}),
    ],
)
def test_a_selector_means_its_tensors(selector: str, expected: set[str]) -> None:
    assert chosen(selector) == expected


def test_selectors_of_a_list_are_joined() -> None:
    assert chosen("head", "blocks[-1]") == HEAD | blocks(3)


def test_an_exclamation_mark_takes_away_wherever_it_stands() -> None:
    assert chosen("!norms", "blocks[0]") == {"layers.0.weight", "layers.0.bias"}
    assert chosen("all", "!blocks[:-1]", "!~head") == STEM | blocks(3)


def test_what_is_taken_away_may_be_everything() -> None:
    assert chosen("head", "!all") == set()


@given(st.integers(1, 12), st.integers(-14, 14) | st.none(), st.integers(-14, 14) | st.none())
def test_a_slice_means_what_it_means_in_python(count: int, start: int | None, stop: int | None) -> None:
    selector = f"blocks[{'' if start is None else start}:{'' if stop is None else stop}]"
    numbers = range(count)[start:stop]
    if numbers:
        assert chosen(selector, layout=layout_of(count)) == blocks(*numbers)
    else:
        with pytest.raises(TrainerError, match="matches no tensor"):
            chosen(selector, layout=layout_of(count))


@given(st.integers(1, 12), st.integers(-14, 14))
def test_an_index_means_what_it_means_in_python(count: int, index: int) -> None:
    if -count <= index < count:
        assert chosen(f"blocks[{index}]", layout=layout_of(count)) == blocks(range(count)[index])
    else:
        with pytest.raises(TrainerError, match="matches no tensor"):
            chosen(f"blocks[{index}]", layout=layout_of(count))


@given(st.lists(st.sampled_from(["head", "stem", "norms", "biases", "blocks[1:3]", "~weight"]), min_size=1))
def test_the_order_of_selectors_and_saying_one_twice_change_nothing(selectors: list[str]) -> None:
    assert chosen(*selectors) == chosen(*reversed(selectors), *selectors)


@pytest.mark.parametrize(
    ("selectors", "index", "message"),
    [
        (["blocks[4]"], 0, "'blocks[4]' matches no tensor; the model has 4 blocks (0 to 3)"),
        (["head", "~nothing"], 1, "'~nothing' matches no tensor"),
        (["all", "!blocks[9:]"], 1, "'blocks[9:]' matches no tensor"),
        (["heads"], 0, "'heads' is no selector; write one of head"),
        (["blocks[a:b]"], 0, "is no selector"),
        (["blocks[0:1:2]"], 0, "is no selector"),
        (["!"], 0, "is no selector"),
        (["!!head"], 0, "is no selector"),
        (["~("], 0, "is no regular expression"),
    ],
)
def test_a_selector_that_matches_nothing_is_an_error_at_its_place(
    selectors: list[str], index: int, message: str
) -> None:
    with pytest.raises(TrainerError) as caught:
        select(LAYOUT, selectors, FIELD)
    assert caught.value.reason == SELECTOR_MATCHES_NOTHING
    assert caught.value.field == f"{FIELD}[{index}]"
    assert message in caught.value.message


def test_a_model_without_biases_has_none_to_select() -> None:
    with pytest.raises(TrainerError, match="'biases' matches no tensor"):
        select(find_layout(family_model("llama")), ["biases"], FIELD)
