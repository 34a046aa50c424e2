"""The steps that `data.clean` may have, each a name and a model of its options.

A name among `columns` or `by` is a column of the data, or else a role of the task (`text`, `label`).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from thaw_api.schema_model import SchemaModel, ShortText
from thaw_api.steps import Steps

Names = Annotated[list[ShortText], Field(min_length=1, max_length=16)]


class DropMissing(SchemaModel):
    """Leaves out rows that lack a value."""

    columns: Names | None = None
    """Where a value must be; absent: in every column that the task reads."""


class DropDuplicates(SchemaModel):
    """Leaves out rows that repeat an earlier one; a held-out row that repeats a training row goes, never that."""

    by: Names | None = None
    """The columns that are compared; absent: every column that the task reads."""


class DropNearDuplicates(SchemaModel):
    """Leaves out rows whose text is almost that of an earlier one, found by MinHash (Broder 1997) and then compared; a
    held-out row that is near a training row goes, never that."""

    by: Names | None = None
    """The columns of text that are compared, joined; absent: the texts that the task reads."""
    similarity: float = Field(default=0.8, ge=0.5, lt=1)
    """Jaccard similarity of the sets of five characters in a row from which on texts are near."""


class Normalize(SchemaModel):
    """Brings text into one form."""

    columns: Names | None = None
    """Absent: the texts that the task reads."""
    form: Literal["NFC", "NFKC"] = "NFC"
    """Unicode normalization form."""
    mojibake: bool = True
    """Repairs text that was decoded with another encoding than its own, by ftfy."""
    whitespace: bool = True
    """One space where there are several, none at the ends."""


class StripHtml(SchemaModel):
    """Leaves the text of HTML: without tags, comments, scripts and styles, entities written out. What is in angle
    brackets and no element of HTML stays."""

    columns: Names | None = None
    """Absent: the texts that the task reads."""


class TextLength(SchemaModel):
    """Leaves out rows whose text is too short or too long."""

    columns: Names | None = None
    """Absent: the texts that the task reads, each by itself."""
    min: int = Field(default=0, ge=0, le=2**31 - 1)
    """Fewest characters."""
    max: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Most characters."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "TextLength":
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max is {self.max} and min {self.min}: no text is both")
        if self.max is None and self.min == 0:
            raise ValueError("leaves every row in: give min or max")
        return self


class Filter(SchemaModel):
    """Keeps the rows for which a condition holds."""

    where: str = Field(min_length=1, max_length=1024)
    """A condition over columns in SQL, such as: length(text) > 20 AND CAST(stars AS DOUBLE) <> 3."""


class Language(SchemaModel):
    """Keeps the rows whose text is in one of some languages, as langid says (Lui and Baldwin 2012)."""

    keep: Annotated[list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]], Field(min_length=1, max_length=97)]
    """ISO 639-1 codes, such as en."""
    columns: Names | None = None
    """Absent: the texts that the task reads, joined."""


class MapValues(SchemaModel):
    """Writes other values into a column: to rename or to merge labels."""

    column: ShortText
    """The column, or a role such as label."""
    values: Annotated[dict[str, str], Field(min_length=1, max_length=1024)]
    """Old value to new one; all others stay."""


CLEANING: Steps = {
    "dropMissing": DropMissing,
    "dropDuplicates": DropDuplicates,
    "dropNearDuplicates": DropNearDuplicates,
    "normalize": Normalize,
    "stripHtml": StripHtml,
    "textLength": TextLength,
    "filter": Filter,
    "language": Language,
    "mapValues": MapValues,
}
