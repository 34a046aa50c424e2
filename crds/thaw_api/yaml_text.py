"""YAML as kubectl reads it, so that a manifest means the same on one machine and on a cluster: a plain 3e-4 is a
number, yes and on are booleans, 1:30 and 2026-01-01 are text, a key that comes twice is an error."""

import re
from typing import Any, ClassVar

import yaml

_BOOLEANS = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
}
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")


class _KubernetesLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of the Go library that kubectl uses."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


def _plain_integer(text: str) -> int:
    digits = text.replace("_", "")
    if re.match(r"[-+]?0[0-7]+$", digits):
        return int(digits, 8)
    return int(digits, 0)


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (dict, list)):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a scalar", key_node.start_mark)
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} comes twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_KubernetesLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(f"({'|'.join(_BOOLEANS)})$"), list("yYnNtTfFoO")
)
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_KubernetesLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])
_KubernetesLoader.add_constructor(
    "tag:yaml.org,2002:bool", lambda loader, node: _BOOLEANS[loader.construct_scalar(node)]
)
_KubernetesLoader.add_constructor(
    "tag:yaml.org,2002:int", lambda loader, node: _plain_integer(loader.construct_scalar(node))
)
_KubernetesLoader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))
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
