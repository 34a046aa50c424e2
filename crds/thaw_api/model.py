"""`spec.model`: the pretrained model that the job starts from."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from thaw_api.schema_model import CLAIM_URI, FILE_IS_LOCAL, CelRule, SchemaModel, ShortText

ModelUri = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=1024, pattern=rf"^(hf|pkg|file|torchvision|timm|s3|gs|job):[^#\s]+$|{CLAIM_URI}"
    ),
]


class MarginSpec(SchemaModel):
    """How identities are told apart in training (face-recognition)."""

    method: Literal["arcface", "cosface"] = "arcface"
    """arcface: a margin on the angle (arXiv 1801.07698); cosface: on its cosine (arXiv 1801.09414)."""
    margin: float = Field(default=0.5, ge=0, le=1.5)
    """Size of the margin: radians for arcface, a cosine for cosface (0.35 there)."""
    scale: float = Field(default=64.0, gt=0, le=1024)
    """What cosines are multiplied by before the softmax."""


class HeadSpec(SchemaModel):
    """The new head that is put on the pretrained model."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout before the head's last layer, 0 to 1; absent: what the model's own configuration says."""
    embedding: int | None = Field(default=None, ge=2, le=8192)
    """Size of the embedding (face-recognition only); absent: 512."""
    reset: Literal["values", "all"] | None = None
    """What of a pretrained policy's head is made anew (reinforcement-learning only): its values, which are wrong in
    another environment, or its actions too; absent: nothing."""
    margin: MarginSpec | None = None
    """How identities are told apart in training (face-recognition only); absent: arcface."""


DEFAULT_RANK = 8
_NOT_OF_IA3 = ("rank", "alpha", "dropout")
_OF_LOW_RANK = "ia3 has no {}; lora, qlora and dora have"


class AdapterSpec(SchemaModel):
    """A parameter-efficient adapter (peft) that is trained, with the head, instead of the model's own tensors."""

    method: Literal["lora", "qlora", "dora", "ia3"]
    """The adapter's method."""
    rank: int | None = Field(default=None, ge=1, le=1024)
    """Rank of the low-rank update (not of ia3); absent: 8."""
    alpha: float | None = Field(default=None, gt=0, le=65536)
    """Scale of the update (not of ia3); absent: twice the rank."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout on the adapter's input (not of ia3); absent: 0."""
    targets: list[ShortText] | None = Field(default=None, min_length=1, max_length=64)
    """Names of the layers that get an adapter, or ends of names, such as query or attention.dense; absent: every
    linear layer of the blocks, and with ia3 those that peft names for the model's family, if it does."""

    cel_rules = tuple(
        CelRule(f"self.method != 'ia3' || !has(self.{name})", _OF_LOW_RANK.format(name), field_path=f".{name}")
        for name in _NOT_OF_IA3
    )

    @field_validator(*_NOT_OF_IA3)
    @classmethod
    def _is_of_the_method(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("method") == "ia3":
            raise ValueError(_OF_LOW_RANK.format(info.field_name))
        return value


class ModelSpec(SchemaModel):
    """The pretrained model, its numbers and its head."""

    uri: ModelUri
    """Where the model comes from: hf://org/name@revision, pkg://package/path (data inside an installed Python
    package), file:path (`thaw run` only), torchvision://, timm://, pvc://claim/path, s3://, gs://, job://name. The
    folder of an earlier run stands for the model that it left."""
    init: Literal["pretrained", "random"] = "pretrained"
    """Start from the pretrained weights, or from random ones (a baseline)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights in memory. Mixed precision is `training.precision`."""
    head: HeadSpec = Field(default_factory=HeadSpec)
    """The new head."""
    blocks: list[ShortText] | None = Field(default=None, min_length=1, max_length=512)
    """Names of the modules that are the model's blocks, from the lowest up, such as [layer1, layer2]; absent: its
    lists of like modules. What is defined before the first one is the stem, between two of them the lower one's, and
    behind the last one the head."""
    adapter: AdapterSpec | None = None
    """Train an adapter and the head; the model's own tensors are fixed."""

    cluster_rules = (FILE_IS_LOCAL,)
