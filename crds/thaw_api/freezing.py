"""`spec.freezing`: which tensors are trained when."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from thaw_api.schema_model import CelRule, SchemaModel
from thaw_api.training import ScheduleName
from thaw_api.triggers import UntilSpec

Selector = Annotated[str, StringConstraints(min_length=1, max_length=256)]
PhaseName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Preset = Literal[
    "none",
    "head-only",
    "last-n",
    "first-n",
    "gradual",
    "ulmfit",
    "lp-ft",
    "chain-thaw",
    "bitfit",
    "lisa",
    "badam",
]
NEEDS_DEPTH = ("last-n", "first-n")
HAS_DEPTH = (*NEEDS_DEPTH, "gradual", "ulmfit", "lisa", "badam")
_NEEDS_DEPTH_TEXT = "presets last-n and first-n need depth: the number of blocks to train"
_HAS_DEPTH_TEXT = f"depth belongs to the presets {', '.join(HAS_DEPTH[:-1])} and {HAS_DEPTH[-1]}"
_NOT_PURE = "cache.mode always excludes frozenDropout on: what is frozen would differ from epoch to epoch"
_ONE_SPREAD = "lowest and decay exclude each other: give one"
_ADAPTIVE_OR_ROTATE = "adaptive and rotate exclude each other: give one"
_ONE_INTERVAL = "every needs exactly one of steps and epochs"


def _any_of(presets: tuple[str, ...]) -> str:
    return f"self.preset in [{', '.join(repr(name) for name in presets)}]"


class LrGroupSpec(SchemaModel):
    """A learning rate for some of the phase's tensors."""

    select: list[Selector] = Field(min_length=1, max_length=64)
    """Selectors of the tensors. No tensor may be in two groups."""
    base: float = Field(gt=0, le=10)
    """Their peak rate."""


class PhaseLrSpec(SchemaModel):
    """Learning rates inside a phase, relative to `training.optimizer.lr`."""

    base: float | None = Field(default=None, gt=0, le=10)
    """Peak rate of what stands highest among the phase's tensors; absent: `training.optimizer.lr`."""
    decay: float = Field(default=1.0, ge=1, le=100)
    """Each block's rate is that of the one above divided by this (2.6 in ULMFiT, arXiv 1801.06146)."""
    lowest: float | None = Field(default=None, gt=0, le=10)
    """Peak rate of what stands lowest; the places between are spread geometrically, as by slice(lowest, base) of
    fastai. Excludes decay."""
    groups: list[LrGroupSpec] | None = Field(default=None, min_length=1, max_length=32)
    """Rates of some tensors by name; tensors of no group have the phase's."""

    cel_rules = (CelRule("!has(self.lowest) || !has(self.decay) || self.decay == 1.0", _ONE_SPREAD),)

    @model_validator(mode="after")
    def _has_one_spread(self) -> "PhaseLrSpec":
        if self.lowest is not None and self.decay != 1.0:
            raise ValueError(_ONE_SPREAD)
        return self


class IntervalSpec(SchemaModel):
    """How long a turn or an interval lasts."""

    steps: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Optimizer steps."""
    epochs: int | None = Field(default=None, ge=1, le=100000)
    """As many optimizer steps as this many epochs have."""

    cel_rules = (CelRule("has(self.steps) != has(self.epochs)", _ONE_INTERVAL),)

    @model_validator(mode="after")
    def _has_one_interval(self) -> "IntervalSpec":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(_ONE_INTERVAL)
        return self


class RotationSpec(SchemaModel):
    """Trains a few of the phase's blocks at a time, in turns (LISA, arXiv 2403.17919; BAdam, arXiv 2404.02827)."""

    blocks: int = Field(ge=1, le=1000)
    """Blocks that are trained in one turn, of those that the phase's selectors have tensors in."""
    every: IntervalSpec
    """Length of a turn."""
    order: Literal["random", "shuffled", "ascending", "descending"] = "random"
    """random: drawn anew each turn; shuffled: every block once in a random order, then in another; ascending: from
    the bottom up; descending: from the top down."""
    always: list[Selector] | None = Field(default=None, min_length=1, max_length=64)
    """Selectors of tensors inside blocks that are trained in every turn, as head and stem are where `train` has
    them."""


class AdaptiveSpec(SchemaModel):
    """Freezes the phase's lowest blocks once their gradients hardly change (AutoFreeze, arXiv 2102.01386)."""

    every: IntervalSpec
    """Interval whose summed gradients are compared with those of the one before."""
    percentile: float = Field(default=50.0, ge=0, le=100)
    """The lowest blocks whose change is within this percentile of all that are still trained are frozen."""


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
    schedule: ScheduleName | None = None
    """Shape of the rate over this phase alone; absent: `training.schedule`."""
    warmup: float | None = Field(default=None, ge=0, le=1000000)
    """How long the rate climbs from zero when the phase begins: below 1 a share of the longest that the phase may last,
    from 1 on optimizer steps. Where the shape spans the phase it stands for `training.schedule.warmup`; where it spans
    the run, its rates are multiplied by the climb."""
    weight_decay: float | None = Field(default=None, ge=0, le=1)
    """Weight decay in this phase; absent: `training.optimizer.weightDecay`."""
    optimizer_state: Literal["keep", "fresh"] | None = None
    """keep (default): what goes on being trained keeps its moments, and what a rotation takes out gets them back when
    it returns. fresh: all moments start anew with the phase, and in a rotation those of what comes in."""
    rotate: RotationSpec | None = None
    """Train the phase's blocks in turns."""
    adaptive: AdaptiveSpec | None = None
    """Freeze more and more of the phase's lowest blocks as their gradients settle. Excludes rotate."""
    restore_best: bool | None = None
    """Restore weights and buffers of the best epoch so far before the phase begins."""

    cel_rules = (CelRule("!(has(self.adaptive) && has(self.rotate))", _ADAPTIVE_OR_ROTATE),)

    @model_validator(mode="after")
    def _adapts_or_rotates(self) -> "PhaseSpec":
        if self.adaptive is not None and self.rotate is not None:
            raise ValueError(_ADAPTIVE_OR_ROTATE)
        return self


class CacheSpec(SchemaModel):
    """The prefix cache: what lies below the lowest trained tensor is computed once."""

    mode: Literal["auto", "always", "never"] = "auto"
    """auto: where it is measured to pay."""
    budget: Annotated[str, StringConstraints(max_length=32, pattern=r"^[1-9][0-9]*(Ki|Mi|Gi|Ti|k|M|G|T)?$")] = "10Gi"
    """Disk that the cache may take."""


class FreezingSpec(SchemaModel):
    """The freezing schedule: a preset, or phases of your own."""

    preset: Preset | None = None
    """none: everything is trained; head-only; last-n, first-n: the head and `depth` top or bottom blocks; gradual: from
    the head down, a few blocks an epoch; ulmfit: gradual with ULMFiT's rates; lp-ft: the head first, then everything;
    chain-thaw: head, each block alone, everything; bitfit: head and biases; lisa, badam: blocks in turns."""
    depth: int | None = Field(default=None, ge=1, le=1000)
    """Blocks that last-n and first-n train; top blocks that gradual and ulmfit end with (absent: all of the model);
    blocks of one turn of lisa (absent: 2) and badam (absent: 1)."""
    lr: PhaseLrSpec | None = None
    """Learning rates in every phase of a preset."""
    phases: list[PhaseSpec] | None = Field(default=None, min_length=1, max_length=32)
    """Phases of your own, in order."""
    frozen_norms: Literal["eval", "train"] = "eval"
    """Running statistics of frozen modules (BatchNorm): eval: they stand still; train: they follow the batches."""
    frozen_dropout: Literal["off", "on"] = "off"
    """Dropout of frozen modules."""
    cache: CacheSpec | None = None
    """The prefix cache."""

    cel_rules = (
        CelRule("!(has(self.preset) && has(self.phases))", "preset and phases exclude each other: give one"),
        CelRule(
            f"!(has(self.preset) && {_any_of(NEEDS_DEPTH)}) || has(self.depth)",
            _NEEDS_DEPTH_TEXT,
        ),
        CelRule(
            f"!has(self.depth) || (has(self.preset) && {_any_of(HAS_DEPTH)})",
            _HAS_DEPTH_TEXT,
        ),
        CelRule(
            "!(has(self.cache) && self.cache.mode == 'always' && self.frozenDropout == 'on')",
            _NOT_PURE,
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
        if self.preset in NEEDS_DEPTH and self.depth is None:
            raise ValueError(_NEEDS_DEPTH_TEXT)
        if self.depth is not None and self.preset not in HAS_DEPTH:
            raise ValueError(_HAS_DEPTH_TEXT)
        if self.cache is not None and self.cache.mode == "always" and self.frozen_dropout == "on":
            raise ValueError(_NOT_PURE)
        if self.lr is not None and self.phases is not None:
            raise ValueError("lr belongs to presets: give each of your own phases its lr")
        names = [phase.name for phase in self.phases or ()]
        if len(set(names)) < len(names):
            raise ValueError("phases need names that differ")
        return self
