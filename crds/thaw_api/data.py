"""`spec.data`: the rows, how they are split, cleaned and put into batches."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from thaw_api.labels import LabelsSpec
from thaw_api.schema_model import CLAIM_URI, FILE_IS_LOCAL, CelRule, SchemaModel, ShortText

DataUri = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=1024, pattern=rf"^(hf|pkg|file|s3|gs|job|gymnasium):[^#\s]+$|{CLAIM_URI}"
    ),
]
Role = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z][A-Za-z0-9]*$")]


def _one_key(step: dict[str, Any]) -> dict[str, Any]:
    if len(step) != 1:
        raise ValueError(f"a step has one key, its name; found {len(step)}")
    ((name, options),) = step.items()
    if options is None:
        raise ValueError(f"write {name}: {{}} for a step without options; the apiserver drops an empty value")
    return step


Step: TypeAlias = Annotated[
    dict[str, Any],
    AfterValidator(_one_key),
    Field(json_schema_extra={"minProperties": 1, "maxProperties": 1}),
]


class DataSource(SchemaModel):
    """One table or folder of examples."""

    uri: DataUri
    """Where the data is: file:path (`thaw run` only; relative to the manifest), pkg://package/path, hf://,
    pvc://claim/path, s3://, gs://, job://name; or an environment (reinforcement-learning): gymnasium://CartPole-v1,
    with changes as ?gravity=20&force_mag=5."""
    format: (
        Literal[
            "csv",
            "tsv",
            "jsonl",
            "parquet",
            "dataset",
            "text",
            "imagefolder",
            "audiofolder",
            "conll",
            "squad",
            "coco",
            "gymnasium",
        ]
        | None
    ) = None
    """How to read it; absent: by the name's ending. dataset: a folder that `save_to_disk` of Hugging Face datasets
    wrote; of several splits in it, the one that is called like the field."""

    cluster_rules = (FILE_IS_LOCAL,)

    @property
    def is_environment(self) -> bool:
        """Whether it is no rows but something to act in."""
        return self.uri.startswith("gymnasium:")


_TIME_ALONE = "timeBy excludes stratifyBy and groupBy: time alone says which split a row is in"


class SplitSpec(SchemaModel):
    """How rows of `train` are held out, when `validation` or `test` are not given as data of their own."""

    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows held out to choose between trials and epochs."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows held out to be measured once, after the choice."""
    stratify_by: ShortText | None = None
    """Column whose values are spread over the splits in proportion."""
    group_by: ShortText | None = None
    """Column whose rows of equal value stay in one split."""
    time_by: ShortText | None = None
    """Column of times (numbers, or dates as ISO 8601 writes them): the oldest rows are trained on, the next are
    validation, the newest test; rows of one time stay in one split. Excludes stratifyBy and groupBy."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the split; trials share it whatever their own seed."""

    cel_rules = (
        CelRule(
            # The apiserver tries rules on the schema's `default: {}` before it fills in what is inside.
            "!has(self.validation) || !has(self.test) || self.validation + self.test < 1.0",
            "validation and test must leave rows to train on: their sum must be below 1",
        ),
        CelRule("!has(self.timeBy) || !(has(self.stratifyBy) || has(self.groupBy))", _TIME_ALONE),
    )

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> "SplitSpec":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test must leave rows to train on: their sum must be below 1")
        if self.time_by is not None and (self.stratify_by is not None or self.group_by is not None):
            raise ValueError(_TIME_ALONE)
        return self


class OnBadRowSpec(SchemaModel):
    """What becomes of rows that cannot be used: an image that does not decode, a missing value, an answer that is not
    in its context."""

    refuse_above: float = Field(default=0.01, ge=0, le=1)
    """Share of a source's rows. Up to it they are left out, counted and listed; above it the job ends before training,
    with the first of them. 0 refuses the first one."""


class BatchingSpec(SchemaModel):
    """How rows become batches."""

    strategy: Literal["bucket", "pad", "pack"] = "bucket"
    """bucket: a batch holds rows of one length class; pad: every row is padded to `maxLength`;
    pack: training rows are joined to sequences of `maxLength` (causal-lm)."""
    max_length: int = Field(default=512, ge=8, le=1048576)
    """Tokens that a row is cut to; the model's own limit holds where it is smaller."""
    max_target_length: int | None = Field(default=None, ge=4, le=1048576)
    """Tokens that a target is cut to (translation, summarization); absent: as `maxLength`. Tokens of a transcript at
    most (speech-recognition): a longer one's row is left out; absent: as many as the model takes."""
    tokens_per_batch: int | None = Field(default=None, ge=8, le=2**30)
    """Tokens of one optimizer step at most, padding included: each length class has as many rows as fit, at most
    `training.batchSize` and one for each worker and accumulated part at least. Absent: `training.batchSize` rows."""


class DataSpec(SchemaModel):
    """The rows that the job learns from and is measured on."""

    train: DataSource
    """Rows to train on."""
    validation: DataSource | None = None
    """Rows to choose by; absent: held out of `train` by `split`."""
    test: DataSource | None = None
    """Rows to measure the chosen model on, once; absent: held out of `train` by `split`."""
    columns: dict[Role, ShortText] = Field(default_factory=dict, max_length=16)
    """Which column plays which role of the task (`text`, `label`, …); absent: the column of the role's name."""
    labels: LabelsSpec = Field(default_factory=LabelsSpec)
    """What the column of the role `label` holds."""
    split: SplitSpec = Field(default_factory=SplitSpec)
    """How rows are held out of `train`."""
    clean: list[Step] | None = Field(default=None, max_length=32)
    """Row-wise cleaning before the split, in order: each step an object with one key."""
    on_bad_row: OnBadRowSpec = Field(default_factory=OnBadRowSpec)
    """What becomes of rows that cannot be used."""
    features: list[Step] | None = Field(default=None, max_length=32)
    """Derived inputs, in order: each step an object with one key."""
    augment: list[Step] | None = Field(default=None, max_length=32)
    """Augmentation of training rows, in order: each step an object with one key."""
    batching: BatchingSpec = Field(default_factory=BatchingSpec)
    """How rows become batches."""

    def column(self, role: str) -> str:
        """The column that plays a role."""
        return self.columns.get(role, role)
