"""`spec.data.labels`: what the column of the role `label` holds."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from thaw_api.schema_model import CelRule, SchemaModel

LabelKind: TypeAlias = Literal["single-label", "multi-label", "regression"]


class LabelsSpec(SchemaModel):
    """What the label of a row is. It is said, not guessed: a column of whole numbers may be stars or classes."""

    kind: LabelKind = "single-label"
    """single-label: one of several classes; multi-label: any number of labels, none too; regression: a number."""
    separator: str | None = Field(default=None, min_length=1, max_length=8)
    """What stands between labels where a cell is text, as in csv (multi-label only); absent: cells are lists."""

    cel_rules = (
        CelRule(
            # The apiserver tries rules on the schema's `default: {}` before it fills in what is inside.
            "!has(self.separator) || (has(self.kind) && self.kind == 'multi-label')",
            "separator is for kind multi-label, whose cells hold several labels",
        ),
    )

    @model_validator(mode="after")
    def _has_what_is_separated(self) -> "LabelsSpec":
        if self.separator is not None and self.kind != "multi-label":
            raise ValueError("separator is for kind multi-label, whose cells hold several labels")
        return self
