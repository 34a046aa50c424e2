"""`spec.training`: the optimizer, its schedule and everything else that one trial's loop needs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from thaw_api.schema_model import CelRule, SchemaModel, ShortText

ScheduleName = Literal["linear", "cosine", "constant", "slanted-triangular"]

_COMPILE_OR_SHARD = "compile and sharding: full exclude each other"


class OptimizerSpec(SchemaModel):
    """The optimizer. Weight decay acts on matrices only: never on biases and norms."""

    name: Literal["adamw", "sgd"] = "adamw"
    """adamw (Loshchilov and Hutter, arXiv 1711.05101) or sgd."""
    lr: float = Field(default=3e-5, gt=0, le=10)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    """Decoupled weight decay (adamw) or L2 penalty (sgd)."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd; adamw does not read it."""
    betas: list[Annotated[float, Field(ge=0, lt=1)]] | None = Field(default=None, min_length=2, max_length=2)
    """Decay of adamw's two moments; absent: [0.9, 0.999]."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """Term that keeps adamw's division finite."""


class ScheduleSpec(SchemaModel):
    """How the learning rate moves."""

    name: ScheduleName = "linear"
    """Shape after warm-up: linear or cosine to zero, or constant; slanted-triangular: from 1/32 of the peak up to it
    and linearly back (ULMFiT, arXiv 1801.06146)."""
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the span in which the rate climbs to its peak."""
    span: Literal["run", "phase"] = "run"
    """What the shape is stretched over: the cap of all epochs, or each freezing phase anew."""


class EarlyStoppingSpec(SchemaModel):
    """Ends a trial whose metric no longer improves; acts in the last freezing phase only."""

    metric: ShortText | None = None
    """The metric watched; absent: the search's objective."""
    patience: int = Field(default=2, ge=1, le=1000)
    """Epochs without improvement before the trial ends."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smallest change that counts as an improvement."""


class PpoSpec(SchemaModel):
    """How an agent learns from what it does (reinforcement-learning): proximal policy optimization, arXiv 1707.06347.

    Each epoch begins its environments anew, and is so many rollouts: all environments make their steps with the policy
    as it is, then their transitions are trained on in passes, `batchSize` of them in each optimizer step.
    """

    environments: int = Field(default=8, ge=1, le=4096)
    """Environments side by side, over all workers."""
    rollout_steps: int = Field(default=128, ge=2, le=1048576)
    """Steps of each environment in a rollout."""
    rollouts: int = Field(default=8, ge=1, le=100000)
    """Rollouts of an epoch."""
    passes: int = Field(default=4, ge=1, le=1000)
    """How often each transition is trained on."""
    discount: float = Field(default=0.99, ge=0, le=1)
    """What a reward is worth a step later (gamma)."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Weight of longer estimates of the advantage (lambda; arXiv 1506.02438): 0 trusts the values, 1 the rewards."""
    clip: float = Field(default=0.2, gt=0, le=1)
    """How far an action's probability may move away from the rollout's before its gradient ends, as a ratio."""
    value_weight: float = Field(default=0.5, ge=0, le=100)
    """Weight of the values' squared error in the loss."""
    entropy_weight: float = Field(default=0.0, ge=0, le=100)
    """Weight of the policy's entropy, which the loss favours."""
    pretrained_weight: float = Field(default=0.0, ge=0, le=100)
    """Weight of the divergence from the pretrained policy, KL(pretrained || policy), at what is observed."""


class RegularizationSpec(SchemaModel):
    """What keeps a model from learning its training rows by heart, beside weight decay, label smoothing, the head's
    dropout and augmentation. Each number may be searched."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Rate of the dropout in the blocks and in the stem's modules, attention's too; absent: the model's own. Frozen
    modules have none."""
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rows that skip the top block in training, those below in proportion to their height (arXiv
    1603.09382); nothing is scaled, as in LayerDrop (arXiv 1909.11556). Frozen blocks are never skipped."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Share that a moving average of the trained weights keeps in each step; the average is what is measured, chosen
    and exported. 0: there is none. Less in the first steps. Memory of the trained weights once more."""
    r_drop: float = Field(default=0.0, ge=0, le=100)
    """Weight of the divergence between two passes of the same rows that dropout makes differ (R-Drop, arXiv
    2106.14448). Each step computes what is trained twice. Classifiers of one label only."""
    l2_sp: float = Field(default=0.0, ge=0, le=100)
    """Pull of the tensors below the head towards their pretrained values (L2-SP, arXiv 1802.01483), of the rate in
    each step, as weight decay is; the head has weight decay alone. Memory of those weights once more."""


class TrainingSpec(SchemaModel):
    """One trial's training."""

    epochs: int = Field(default=3, ge=1, le=100000)
    """Passes over the training rows, at most: a cap on the sum of all freezing phases."""
    batch_size: int = Field(default=32, ge=1, le=1048576)
    """Rows of one optimizer step, over all workers and accumulation steps together."""
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    """The optimizer."""
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)
    """How the learning rate moves."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the forward and backward computation (autocast)."""
    gradient_accumulation: int = Field(default=1, ge=1, le=4096)
    """Parts that each step's rows are divided into, to save memory; the result is the same."""
    activation_checkpointing: bool = False
    """Blocks that the backward enters keep their inputs alone and compute again: less memory, about a third more time
    for them, the same result (arXiv 1604.06174)."""
    compile: bool = False
    """Blocks that the backward enters are compiled (torch.compile), anew in each freezing phase and for each length
    class; results differ in the last digits. Pays on GPUs and in long phases. It needs a C and a C++ compiler beside
    the workers, which the trainer image does not have yet."""
    sharding: Literal["none", "full"] = "none"
    """full: the workers of a trial divide weights, gradients and optimizer state among them, block by block (FSDP2,
    arXiv 2304.11277): less memory for each, more communication, the same result. Of one worker it changes nothing.
    Excludes compile."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient of all trained tensors together; 0: it is not clipped."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a row counts in the loss by the inverse of its class's share of the training rows, so that every class
    counts as much as every other. Metrics are not weighted. Classifiers of one label only."""
    regularization: RegularizationSpec = Field(default_factory=RegularizationSpec)
    """What else keeps it from learning its rows by heart."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the head, of dropout and of the batches' order."""
    ppo: PpoSpec | None = None
    """How an agent learns from what it does (reinforcement-learning); absent: as PPO usually does."""
    early_stopping: EarlyStoppingSpec | None = None
    """When to end a trial before its epochs are over."""

    cel_rules = (
        CelRule(
            # The apiserver tries rules on the schema's `default: {}` before it fills in what is inside.
            "!has(self.compile) || !has(self.sharding) || !(self.compile && self.sharding == 'full')",
            _COMPILE_OR_SHARD,
        ),
    )

    @model_validator(mode="after")
    def _compiles_or_shards(self) -> "TrainingSpec":
        if self.compile and self.sharding == "full":
            raise ValueError(_COMPILE_OR_SHARD)
        return self
