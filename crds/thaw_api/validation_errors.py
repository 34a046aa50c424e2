"""pydantic's errors as field errors: the path as YAML writes it, what was found, what would be right."""

import difflib
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from thaw_api.field_error import FieldError
from thaw_api.paths import format_path

_SHOWN_CHARACTERS = 80


def field_errors(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[FieldError]:
    """One FieldError for each field that is wrong; branches of a union that was tried and failed count once."""
    found: dict[str, FieldError] = {}
    for detail in error.errors(include_url=False, include_context=True):
        location, owner = _as_written(detail["loc"], model)
        path = ".".join(part for part in (prefix, format_path(location)) if part)
        message = _message(dict(detail), location, owner)
        if path in found and message not in found[path].message:
            message = f"{found[path].message}, or: {message}"
        found[path] = FieldError(path, message)
    return list(found.values())


def _message(detail: dict[str, Any], location: tuple[str | int, ...], owner: type[BaseModel] | None) -> str:
    kind, found = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = sorted(_aliases(owner)) if owner else []
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}" if known else ""
        return f"unknown field; {hint}" if hint else "unknown field"
    if kind == "missing":
        return "required, and missing"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    text = (
        str(found) if not isinstance(found, (dict, list)) else f"a {'list' if isinstance(found, list) else 'mapping'}"
    )
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    wanted = detail["msg"].removeprefix("Input ").replace("should", "must", 1)
    return f"{wanted}; found {shown!r}" if isinstance(found, str) else f"{wanted}; found {shown}"


def _as_written(
    location: tuple[str | int, ...], model: type[BaseModel]
) -> tuple[tuple[str | int, ...], type[BaseModel] | None]:
    """The location without pydantic's names of union branches, and the model that owns its last part."""
    written: list[str | int] = []
    annotation: Any = model
    owner: type[BaseModel] | None = None
    for part in location:
        candidate = _model_in(annotation)
        if isinstance(part, int):
            written.append(part)
            annotation = _item_of(annotation)
        elif candidate is not None:
            owner = candidate
            written.append(part)
            annotation = _aliases(candidate).get(part)
        elif _is_mapping(annotation):
            written.append(part)
            annotation = None
    return tuple(written), owner


def _aliases(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _branches(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [leaf for branch in get_args(annotation) for leaf in _branches(branch)]
    return [annotation]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for branch in _branches(annotation):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            return branch
    return None


def _is_mapping(annotation: Any) -> bool:
    return any(get_origin(branch) is dict for branch in _branches(annotation))


def _item_of(annotation: Any) -> Any:
    for branch in _branches(annotation):
        if get_origin(branch) is list:
            return get_args(branch)[0]
    return None
