from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_api.paths import Path, format_path, get_at, parse_path, set_at

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,7}", fullmatch=True)
PATHS = st.builds(lambda first, rest: (first, *rest), NAMES, st.lists(NAMES | st.integers(0, 99), max_size=6))
# Few names, so that a path often meets what is there.
FEW_NAMES = st.sampled_from(["a", "b"])
NAME_PATHS = st.lists(FEW_NAMES, min_size=1, max_size=4).map(tuple)
TREES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    FEW_NAMES,
    st.recursive(
        st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FEW_NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def leaves(tree: Any, path: Path = ()) -> dict[Path, Any]:
    """Every scalar of the tree by its path."""
    if isinstance(tree, dict):
        return {where: leaf for key, child in tree.items() for where, leaf in leaves(child, (*path, key)).items()}
    if isinstance(tree, list):
        return {where: leaf for i, child in enumerate(tree) for where, leaf in leaves(child, (*path, i)).items()}
    return {path: tree}


@given(PATHS)
def test_a_path_that_is_written_is_read_back(path: Path) -> None:
    assert parse_path(format_path(path)) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("training.optimizer.lr", ("training", "optimizer", "lr")),
        ("freezing.phases[1].train[0]", ("freezing", "phases", 1, "train", 0)),
        ("a[0][12]", ("a", 0, 12)),
    ],
)
def test_a_path_names_fields_and_list_items(text: str, path: Path) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[-1]", "a[x]", "a[0]b", "[0]", "a b", "a\n", "a[0]\n", "1a"]
)
def test_what_is_no_path_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a path such as training\.optimizer\.lr"):
        parse_path(text)


@given(TREES, NAME_PATHS, st.integers())
def test_what_is_set_is_there_and_nothing_else_changes(tree: dict[str, Any], path: Path, value: int) -> None:
    before = deepcopy(tree)
    try:
        after = set_at(tree, path, value)
    except KeyError:
        assert any(not isinstance(get_at(tree, path[:depth]), dict) for depth in present_depths(tree, path))
        return
    finally:
        assert tree == before
    assert get_at(after, path) == value
    untouched = {where: leaf for where, leaf in leaves(before).items() if where[: len(path)] != path}
    assert untouched == {where: leaf for where, leaf in leaves(after).items() if where[: len(path)] != path}


def present_depths(tree: dict[str, Any], path: Path) -> list[int]:
    """How many parts of the path, from its start, the tree has: 1, 2, …"""
    depths = []
    for depth in range(1, len(path)):
        try:
            get_at(tree, path[:depth])
        except KeyError:
            break
        depths.append(depth)
    return depths


def test_objects_on_the_way_are_made() -> None:
    assert set_at({}, ("training", "optimizer", "lr"), 0.1) == {"training": {"optimizer": {"lr": 0.1}}}


def test_an_item_of_a_list_is_replaced() -> None:
    assert set_at({"a": [{"b": 1}, {"b": 2}]}, ("a", 1, "b"), 3) == {"a": [{"b": 1}, {"b": 3}]}


@pytest.mark.parametrize(
    ("path", "missing"),
    [("phases[2].name", "phases[2]"), ("absent[0]", "absent"), ("phases[0].name.x", "phases[0].name.x")],
)
def test_an_item_that_is_not_there_is_named(path: str, missing: str) -> None:
    with pytest.raises(KeyError) as error:
        set_at({"phases": [{"name": "a"}, {"name": "b"}]}, parse_path(path), 1)
    assert error.value.args[0] == missing


def test_setting_a_value_changes_one_place_even_where_yaml_made_two_of_one_object() -> None:
    rows = {"uri": "file:a.csv"}
    tree = {"train": rows, "test": rows}
    assert set_at(tree, ("test", "uri"), "file:b.csv") == {
        "train": {"uri": "file:a.csv"},
        "test": {"uri": "file:b.csv"},
    }
    assert rows == {"uri": "file:a.csv"}
