"""The steps that `data.features` and `data.augment` may have, each a name and a model of its options.

A step is written `{name: {option: value}}`. Which task has which is said in `tasks.py`.
"""

from string import Formatter
from typing import Any, TypeAlias

from pydantic import Field, ValidationError, model_validator

from thaw_api.field_error import FieldError
from thaw_api.schema_model import SchemaModel
from thaw_api.validation_errors import field_errors


class Resize(SchemaModel):
    """Images are brought to this size; without it, to the size that the model was pretrained with."""

    size: int = Field(ge=8, le=4096)
    """Height and width in pixels."""


class Template(SchemaModel):
    """Makes a column of text of others."""

    column: str = Field(min_length=1, max_length=253)
    """Name of the new column; one of that name is replaced."""
    text: str = Field(min_length=1, max_length=4096)
    """Text with columns in braces, such as "{title}. {body}"; a brace itself is written twice. A row in which one of
    them is missing lacks the new one too."""

    @model_validator(mode="after")
    def _names_columns(self) -> "Template":
        try:
            parts = list(Formatter().parse(self.text))
        except ValueError as error:
            raise ValueError(f"text {self.text!r} is no template: {error}") from error
        names = [name for _, name, _, _ in parts if name is not None]
        if not names or not all(names):
            raise ValueError(f"text {self.text!r} names no column: write one in braces, such as {{title}}")
        if any(form or conversion for _, _, form, conversion in parts):
            raise ValueError(f"text {self.text!r} may have names in braces, and nothing else")
        return self


class Derive(SchemaModel):
    """Makes a column by an expression over others, in SQL; of one row at a time."""

    column: str = Field(min_length=1, max_length=253)
    """Name of the new column; one of that name is replaced."""
    expression: str = Field(min_length=1, max_length=4096)
    """Such as CASE WHEN stars > 3 THEN 'good' ELSE 'poor' END."""


class Windows(SchemaModel):
    """How a context that is too long for the model is read: in windows that overlap."""

    stride: int = Field(default=128, ge=1, le=65536)
    """Tokens that two windows have in common."""


class Instruction(SchemaModel):
    """What is written before each text that the model reads, as it was when the model was pretrained."""

    text: str = Field(min_length=1, max_length=1024)
    """Such as "translate English to German: ", with the space that belongs behind it."""


class Languages(SchemaModel):
    """The languages of a model of many (mBART, NLLB, M2M100, Whisper), in its tokenizer's own codes."""

    source: str = Field(min_length=1, max_length=63)
    """Code of the language that is read, or spoken, such as eng_Latn."""
    target: str = Field(min_length=1, max_length=63)
    """Code of the language that is written."""


class Duration(SchemaModel):
    """Sounds that are longer are left out, and counted: cut off, they would no longer be what their text says."""

    max_seconds: float = Field(gt=0, le=3600)
    """Longest sound, in seconds."""


class Cut(SchemaModel):
    """Sounds that are longer are cut off behind it."""

    max_seconds: float = Field(gt=0, le=3600)
    """Longest sound, in seconds."""


class HorizontalFlip(SchemaModel):
    """Mirrors left and right."""

    probability: float = Field(default=0.5, ge=0, le=1)
    """Share of the images that it happens to."""


class VerticalFlip(SchemaModel):
    """Mirrors top and bottom."""

    probability: float = Field(default=0.5, ge=0, le=1)
    """Share of the images that it happens to."""


class RandomCrop(SchemaModel):
    """Pads all sides with black and cuts the image's size out of it at random."""

    padding: int = Field(ge=1, le=1024)
    """Pixels added on each side."""


class RandomResizedCrop(SchemaModel):
    """Cuts out a part at random and brings it to the image's size (arXiv 1409.4842)."""

    min_scale: float = Field(default=0.08, gt=0, le=1)
    """Smallest share of the area that a part has."""
    max_ratio: float = Field(default=1.333, ge=1, le=10)
    """Largest width to height of a part; the smallest is its inverse."""


class Rotation(SchemaModel):
    """Turns the image about its centre."""

    degrees: float = Field(gt=0, le=180)
    """Largest angle to either side."""


class Shift(SchemaModel):
    """Moves the image, with black where nothing is left."""

    share: float = Field(gt=0, lt=1)
    """Largest way to each side, as a share of height and width."""


class ColorJitter(SchemaModel):
    """Changes colours at random."""

    brightness: float = Field(default=0.0, ge=0, le=1)
    """Largest relative change of the brightness."""
    contrast: float = Field(default=0.0, ge=0, le=1)
    """Largest relative change of the contrast."""
    saturation: float = Field(default=0.0, ge=0, le=1)
    """Largest relative change of the saturation."""
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Largest turn of the hue, in turns of the colour circle."""

    @model_validator(mode="after")
    def _changes_something(self) -> "ColorJitter":
        if not any((self.brightness, self.contrast, self.saturation, self.hue)):
            raise ValueError("changes nothing: give brightness, contrast, saturation or hue")
        return self


class TrivialAugment(SchemaModel):
    """One operation out of 14, of random strength (TrivialAugment Wide, arXiv 2103.10158)."""


class RandAugment(SchemaModel):
    """So many operations out of 14, one after the other, all of one strength (RandAugment, arXiv 1909.13719)."""

    operations: int = Field(default=2, ge=1, le=14)
    """How many."""
    magnitude: int = Field(default=9, ge=0, le=30)
    """Their strength; 30 is the greatest."""


class RandomErasing(SchemaModel):
    """Blanks a rectangle (arXiv 1708.04896)."""

    probability: float = Field(default=0.25, ge=0, le=1)
    """Share of the images that it happens to."""


class HideTokens(SchemaModel):
    """Hides tokens of a text: the tokenizer's mask token stands in their place, or its unknown one (word dropout)."""

    probability: float = Field(default=0.1, gt=0, lt=1)
    """Share of the tokens that it happens to; never to special ones."""


Steps: TypeAlias = dict[str, type[SchemaModel]]
"""Steps by name."""

COLUMN_FEATURES: Steps = {"template": Template, "derive": Derive}
QUESTION_FEATURES: Steps = {"windows": Windows}
SUMMARY_FEATURES: Steps = COLUMN_FEATURES | {"instruction": Instruction}
TRANSLATION_FEATURES: Steps = COLUMN_FEATURES | {"instruction": Instruction, "languages": Languages}
SPEECH_FEATURES: Steps = {"duration": Duration, "languages": Languages}
SOUND_CUTS: Steps = {"cut": Cut}
IMAGE_FEATURES: Steps = {"resize": Resize}
IMAGE_AUGMENTATION: Steps = {
    "horizontalFlip": HorizontalFlip,
    "verticalFlip": VerticalFlip,
    "randomCrop": RandomCrop,
    "randomResizedCrop": RandomResizedCrop,
    "rotation": Rotation,
    "shift": Shift,
    "colorJitter": ColorJitter,
    "trivialAugment": TrivialAugment,
    "randAugment": RandAugment,
    "randomErasing": RandomErasing,
}
TEXT_AUGMENTATION: Steps = {"hideTokens": HideTokens}
BOX_AUGMENTATION: Steps = {
    name: IMAGE_AUGMENTATION[name]
    for name in ("horizontalFlip", "verticalFlip", "randomCrop", "randomResizedCrop", "shift", "colorJitter")
}
"""Steps after which a box is a box again that fits its object as well as before."""


def read_steps(steps: list[dict[str, Any]] | None, known: Steps) -> list[tuple[str, Any]]:
    """Each step's name and options, for steps that `step_errors` finds nothing wrong with."""
    return [(name, known[name].model_validate(options)) for step in steps or () for name, options in step.items()]


def last_step(steps: list[dict[str, Any]] | None, known: Steps, name: str) -> Any:
    """The options of the last step of a name; None when there is none."""
    return next((options for each, options in reversed(read_steps(steps, known)) if each == name), None)


def step_errors(steps: list[dict[str, Any]] | None, known: Steps, where: str, task: str) -> list[FieldError]:
    """Steps that a task does not have, and options that a step does not have or take."""
    errors: list[FieldError] = []
    for index, step in enumerate(steps or ()):
        ((name, options),) = step.items()
        path = f"{where}[{index}].{name}"
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none yet"
            errors.append(FieldError(path, f"task {task} has no such step; {has}"))
            continue
        if not isinstance(options, dict):
            errors.append(FieldError(path, f"a step's options are a mapping, {{}} for none; found {options!r}"))
            continue
        try:
            known[name].model_validate(options)
        except ValidationError as error:
            errors += field_errors(error, known[name], prefix=path)
    return errors
