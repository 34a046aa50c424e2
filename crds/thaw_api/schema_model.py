"""The two kinds of model that the resource is made of: objects, and unions of which one arm is set."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

Scalar: TypeAlias = Annotated[str, StringConstraints(max_length=1024)] | int | float | bool
"""A value that a searched path can take."""

ShortText = Annotated[str, StringConstraints(min_length=1, max_length=253)]
LongText = Annotated[str, StringConstraints(max_length=4096)]

CLAIM_URI = r"^pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/[^#\s]*)?$"
"""Pattern of a path on a PersistentVolumeClaim, whose name the operator and an admission policy read from it."""


@dataclass(frozen=True)
class CelRule:
    """A rule that the apiserver evaluates; `message` is what the user reads."""

    rule: str
    message: str
    field_path: str | None = None
    """Where the error is shown, from the object that has the rule on; absent: at that object."""

    def as_schema(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


FILE_IS_LOCAL = CelRule(
    "!self.uri.startsWith('file:')",
    "file: is for `thaw run`; on a cluster use pvc://, s3:// …",
    field_path=".uri",
)
"""A file of the machine that the manifest was written on means nothing on a cluster's nodes."""


class SchemaModel(BaseModel):
    """An object of the resource: camelCase in YAML, unknown fields refused, immutable once read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = ()
    """What the apiserver checks beyond types and ranges; a validator of the model says the same."""
    cluster_rules: ClassVar[tuple[CelRule, ...]] = ()
    """What the apiserver alone refuses: `thaw run` takes it."""
    list_map_keys: ClassVar[dict[str, str]] = {}
    """Lists (as in YAML) that are merged item by item, with the field that tells items apart; all others are atomic."""

    def manifest(self) -> dict[str, Any]:
        """The object as a manifest would write it, defaults included, absent fields left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class UnionModel(SchemaModel):
    """An object of which exactly one of several optional arms is set (Kubernetes' form of a union)."""

    shared_fields: ClassVar[int] = 0
    """How many required fields stand beside the arm."""

    def arm(self) -> tuple[str, Any]:
        """The name (as in YAML) and the value of the arm that is set."""
        ((name, value),) = (
            (field.alias or name, getattr(self, name))
            for name, field in type(self).model_fields.items()
            if not field.is_required() and getattr(self, name) is not None
        )
        return name, value
