"""Paths into a spec, such as freezing.phases[1].train[0]: reading, setting, and what they may name."""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_SEGMENT = re.compile(r"([A-Za-z][A-Za-z0-9]*)((?:\[[0-9]+\])*)")


def parse_path(text: str) -> Path:
    """`a.b[1].c` as ("a", "b", 1, "c").

    Raises:
        ValueError: the text is no path.
    """
    path: list[str | int] = []
    for part in text.split("."):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            raise ValueError(f"{text!r} is not a path such as training.optimizer.lr or freezing.phases[1].train[0]")
        path.append(match.group(1))
        path.extend(int(index) for index in re.findall(r"\d+", match.group(2)))
    return tuple(path)


def format_path(path: Path | tuple[Any, ...]) -> str:
    """The inverse of `parse_path`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def get_at(tree: Any, path: Path) -> Any:
    """The value at `path` in nested mappings and lists.

    Raises:
        KeyError: nothing is there; the message names the first part that is missing.
    """
    for depth, part in enumerate(path):
        present = (
            part < len(tree)
            if isinstance(part, int) and isinstance(tree, list)
            else isinstance(tree, Mapping) and part in tree
        )
        if not present:
            raise KeyError(format_path(path[: depth + 1]))
        tree = tree[part]
    return tree


def set_at(tree: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of `tree` with `value` at `path`; absent objects on the way are made, list items must exist.

    Raises:
        KeyError: a list on the way is missing or too short; the message names it.
    """
    copy: dict[str, Any] = _unshared(tree)
    node: Any = copy
    for depth, part in enumerate(path[:-1]):
        if isinstance(part, str) and isinstance(node, dict) and part not in node and isinstance(path[depth + 1], str):
            node[part] = {}
        node = get_at(node, (part,)) if _holds(node, part) else _missing(path, depth)
    last = path[-1]
    if isinstance(last, int) and not _holds(node, last):
        _missing(path, len(path) - 1)
    if isinstance(last, str) and not isinstance(node, dict):
        _missing(path, len(path) - 1)
    node[last] = value
    return copy


def _unshared(value: Any) -> Any:
    """A copy in which nothing is shared: YAML's aliases make one object stand in several places."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _holds(node: Any, part: str | int) -> bool:
    return (
        part < len(node)
        if isinstance(part, int) and isinstance(node, list)
        else isinstance(node, dict) and part in node
    )


def _missing(path: Path, depth: int) -> Any:
    raise KeyError(format_path(path[: depth + 1]))
