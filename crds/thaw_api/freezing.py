"""`spec.freezing`: which tensors are trained when."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from thaw_api.schema_model import CelRule, SchemaModel, ShortText

Selector = Annotated[str, StringConstraints(min_length=1, max_length=256)]
PhaseName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Preset = Literal["none", "head-only", "last-n", "gradual", "lp-ft"]


class PlateauSpec(SchemaModel):
    """Holds when a metric has not improved for a while; it counts anew in each phase."""

    metric: ShortText | None = None
    """The metric watched; absent: the search's objective."""
    patience: int = Field(default=1, ge=1, le=1000)
    """Epochs without improvement."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smallest change that counts as an improvement."""


class UntilSpec(SchemaModel):
    """When a phase ends: at the first of its triggers that holds after an epoch."""

    epochs: int | None = Field(default=None, ge=1, le=100000)
    """After this many epochs of the phase."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """When this share of `training.epochs` is over, counted from the run's start."""
    plateau: PlateauSpec | None = None
    """When a metric no longer improves."""

    cel_rules = (
        CelRule(
            "has(self.epochs) || has(self.fraction) || has(self.plateau)",
            "a phase needs a trigger: epochs, fraction or plateau",
        ),
    )

    @model_validator(mode="after")
    def _has_a_trigger(self) -> "UntilSpec":
        if self.epochs is None and self.fraction is None and self.plateau is None:
            raise ValueError("a phase needs a trigger: epochs, fraction or plateau")
        return self


class PhaseLrSpec(SchemaModel):
    """Learning rates inside a phase, relative to `training.optimizer.lr`."""

    base: float | None = Field(default=None, gt=0, le=10)
    """Peak rate of this phase's top group; absent: `training.optimizer.lr`."""
    decay: float = Field(default=1.0, ge=1, le=100)
    """Each block's rate is that of the one above divided by this (2.6 in ULMFiT, arXiv 1801.06146)."""


class PhaseSpec(SchemaModel):
    """One phase of the schedule: what is trained, and until when. Everything else is frozen."""

    name: PhaseName
    """The phase's name in logs, status and report."""
    train: list[Selector] = Field(min_length=1, max_length=64)
    """Selectors of the tensors that are trained: head, stem, norms, biases, embeddings, all, blocks[a:b], ~regex;
    a leading ! takes away."""
    until: UntilSpec
    """When the phase ends."""
    lr: PhaseLrSpec | None = None
    """Learning rates of this phase."""
    restore_best: bool | None = None
    """Restore weights and buffers of the best epoch so far before the phase begins."""


class CacheSpec(SchemaModel):
    """The prefix cache: what lies below the lowest trained tensor is computed once."""

    mode: Literal["auto", "always", "never"] = "auto"
    """auto: where it is measured to pay."""
    budget: Annotated[str, StringConstraints(max_length=32, pattern=r"^[1-9][0-9]*(Ki|Mi|Gi|Ti|k|M|G|T)?$")] = "10Gi"
    """Disk that the cache may take."""


class FreezingSpec(SchemaModel):
    """The freezing schedule: a preset, or phases of your own."""

    preset: Preset | None = None
    """none: everything is trained; head-only; last-n: the head and `depth` top blocks; gradual: from the head
    down, a few blocks an epoch (ULMFiT); lp-ft: the head first, then everything (arXiv 2202.10054)."""
    depth: int | None = Field(default=None, ge=1, le=1000)
    """Top blocks that last-n trains and that gradual ends with; absent in gradual: all of the model."""
    lr: PhaseLrSpec | None = None
    """Learning rates in every phase of a preset."""
    phases: list[PhaseSpec] | None = Field(default=None, min_length=1, max_length=32)
    """Phases of your own, in order."""
    cache: CacheSpec | None = None
    """The prefix cache."""

    cel_rules = (
        CelRule("!(has(self.preset) && has(self.phases))", "preset and phases exclude each other: give one"),
        CelRule(
            "!(has(self.preset) && self.preset == 'last-n') || has(self.depth)",
            "preset last-n needs depth: the number of top blocks to train",
        ),
        CelRule(
            "!has(self.depth) || (has(self.preset) && self.preset in ['last-n', 'gradual'])",
            "depth belongs to the presets last-n and gradual",
        ),
        CelRule(
            "!(has(self.lr) && has(self.phases))",
            "lr belongs to presets: give each of your own phases its lr",
        ),
        CelRule(
            "!has(self.phases) || self.phases.all(p, self.phases.exists_one(q, q.name == p.name))",
            "phases need names that differ",
        ),
    )

    @model_validator(mode="after")
    def _preset_or_phases(self) -> "FreezingSpec":
        if self.preset is not None and self.phases is not None:
            raise ValueError("preset and phases exclude each other: give one")
        if self.preset == "last-n" and self.depth is None:
            raise ValueError("preset last-n needs depth: the number of top blocks to train")
        if self.depth is not None and self.preset not in ("last-n", "gradual"):
            raise ValueError("depth belongs to the presets last-n and gradual")
        if self.lr is not None and self.phases is not None:
            raise ValueError("lr belongs to presets: give each of your own phases its lr")
        names = [phase.name for phase in self.phases or ()]
        if len(set(names)) < len(names):
            raise ValueError("phases need names that differ")
        return self
