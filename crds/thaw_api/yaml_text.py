"""YAML as kubectl reads it, so that a manifest means the same on one machine and on a cluster: a plain 3e-4 is a
number, yes and on are booleans, 1:30 and 2026-01-01 are text, a key that comes twice is an error."""

import math
import re
from typing import Any

import yaml

_BOOLEANS = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
}
_NUMBER_LIKE = re.compile(r"[-+.0-9][-+._0-9A-Za-z]*$")
_INTEGER = re.compile(r"[-+]?(0[bB][01]+|0[oO]?[0-7]+|0[xX][0-9a-fA-F]+|[1-9][0-9]*|0)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MERGE = "tag:yaml.org,2002:merge"


class _KubernetesLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of the Go library that kubectl uses."""


_KubernetesLoader.yaml_implicit_resolvers = {}


def _number(text: str) -> int | float | str:
    """The number that Go's library takes a plain scalar for, or the text itself."""
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        octal = re.match(r"[-+]?0[0-7]+$", digits)
        whole = int(digits, 8 if octal else 0)
        return whole if -(2**63) <= whole < 2**63 else float(whole)
    number = float(digits) if _FLOAT.fullmatch(digits) else math.inf
    return number if math.isfinite(number) else text


def _construct_boolean(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool:
    return _BOOLEANS[str(loader.construct_scalar(node))]


def _construct_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float | str:
    return _number(str(loader.construct_scalar(node)))


def _construct_key(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    key = loader.construct_object(node, deep=True)
    if isinstance(key, (dict, list)):
        raise yaml.constructor.ConstructorError(None, None, "a key must be a scalar", node.start_mark)
    return key


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    own = sum(key.tag != _MERGE for key, _ in node.value)
    loader.flatten_mapping(node)
    merged, written = node.value[: len(node.value) - own], node.value[len(node.value) - own :]
    inherited = {_construct_key(loader, key): value for key, value in merged}
    mapping: dict[Any, Any] = {}
    for key_node, value_node in written:
        key = _construct_key(loader, key_node)
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} comes twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return {key: loader.construct_object(value, deep=True) for key, value in inherited.items()} | mapping


_KubernetesLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(f"({'|'.join(_BOOLEANS)})$"), list("yYnNtTfFoO")
)
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER_LIKE, list("-+.0123456789"))
_KubernetesLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_KubernetesLoader.add_implicit_resolver(_MERGE, re.compile(r"<<$"), ["<"])
_KubernetesLoader.add_constructor("tag:yaml.org,2002:bool", _construct_boolean)
_KubernetesLoader.add_constructor("tag:yaml.org,2002:int", _construct_number)
_KubernetesLoader.add_constructor("tag:yaml.org,2002:float", _construct_number)
_KubernetesLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_documents(text: str) -> list[Any]:
    """All documents of a YAML text that are not empty.

    Raises:
        yaml.YAMLError: the text is not YAML; the message has line and column.
    """
    return [document for document in yaml.load_all(text, Loader=_KubernetesLoader) if document is not None]


def read_scalar(text: str) -> Any:
    """The value that `text` has as a plain YAML value, as in `--set path=value`."""
    return yaml.load(text, Loader=_KubernetesLoader)
