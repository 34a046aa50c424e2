"""What training a model costs: work in floating-point operations, and memory.

A multiplication with a weight is two operations. The forward does each once; the backward once more for the gradient of
what a block reads, in every block above the lowest trained tensor, and once more for the gradient of each trained
weight. Attention costs two products of positions with positions beside that. docs/models.md has the formulas.
"""

from dataclasses import dataclass

from thaw_trainer.advice.shape import Shape, Stack
from thaw_trainer.advice.work import Adapters, Part, Work

PROCESS_BYTES = 800_000_000
"""A worker with torch and transformers, before it has a model."""
_KEPT_WIDTHS, _KEPT_INNER, _KEPT_GATED = 9, 2, 4
"""What a block keeps of a position: so many times its width (norms, projections, attention), and its inner width."""
_KEPT_LOGITS = 3
"""Logits, their softmax and its gradient."""


@dataclass(frozen=True)
class Cost:
    """Estimates for one trial."""

    operations: float
    trained: int
    """Numbers that are trained, at most."""
    weights: float
    """Bytes, as all that follows."""
    gradients: float
    moments: float
    activations: float

    @property
    def memory(self) -> float:
        """Bytes of a worker in all."""
        return PROCESS_BYTES + self.weights + self.gradients + self.moments + self.activations


@dataclass(frozen=True)
class _Block:
    parameters: int
    adapter: int
    macs: float
    kept: float
    read: float
    """Numbers that it reads of a row."""


def cost_of(shape: Shape, work: Work) -> Cost:
    """What a trial of a model costs."""
    blocks = _blocks(shape, work)
    tallest = max(work.stretches, key=lambda stretch: _first(shape, stretch.part, work.adapters))
    deepest = min(work.stretches, key=lambda stretch: _first(shape, stretch.part, work.adapters))
    operations = sum(
        stretch.epochs * work.rows * _operations(shape, blocks, work, stretch.part) for stretch in work.stretches
    )
    if work.cached:
        # The cache is filled once, as far up as the least that is trained lets it.
        below = max(0, _first(shape, tallest.part, work.adapters))
        operations += work.rows * 2 * sum(block.macs for block in blocks[:below])
    trained = _trained(shape, blocks, deepest.part, work)
    first = _first(shape, deepest.part, work.adapters)
    weights = work.weight_bytes * shape.parameters + 4 * sum(block.adapter for block in blocks)
    own = 4 if work.adapters else work.weight_bytes
    return Cost(
        operations=operations,
        trained=trained,
        weights=weights,
        gradients=own * trained,
        moments=own * work.moments * trained,
        activations=_activations(shape, blocks, work, first),
    )


def _first(shape: Shape, part: Part, adapters: Adapters | None) -> int:
    """The lowest block that the backward enters; -1: the stem."""
    if part == "all":
        return 0 if adapters else -1
    return shape.blocks - (0 if part == "head" else min(part, shape.blocks))


def _trained(shape: Shape, blocks: list[_Block], part: Part, work: Work) -> int:
    first = _first(shape, part, work.adapters)
    if first < 0:
        return shape.parameters
    sizes = [block.adapter if work.adapters else block.parameters for block in blocks[first:]]
    return shape.head + sum(sizes)


def _operations(shape: Shape, blocks: list[_Block], work: Work, part: Part) -> float:
    """Of one row, in a step that trains a part."""
    first = _first(shape, part, work.adapters)
    stem = float(shape.stem_macs) * (1 if shape.positions else work.length)
    computed = blocks[max(first, 0) :] if work.cached else blocks
    forward = sum(block.macs for block in computed) + (stem if first < 0 or not work.cached else 0)
    gradients = sum(block.macs for block in blocks[max(first, 0) :])
    if work.recomputes:
        forward += gradients
    weights = (0.0 if work.adapters else gradients) + (2 * stem if first < 0 else 0.0)
    written = shape.vocabulary * shape.stacks[-1].hidden * _written(shape, work)
    head = written * (3 if part == "all" and not work.adapters else 2)
    return 2 * (forward + gradients + weights + head)


def _written(shape: Shape, work: Work) -> float:
    return work.target if shape.stacks[-1].reads == "target" else shape.input_positions(work.length)


def _activations(shape: Shape, blocks: list[_Block], work: Work, first: int) -> float:
    above, width = blocks[max(first, 0) :], 2 if work.precision == "bfloat16" else 4
    largest = max(block.kept for block in blocks)
    kept = sum(block.read for block in above) + largest if work.recomputes else sum(block.kept for block in above)
    # What is computed without a gradient lets go at once of all but the block that is under way.
    kept = max(kept, largest / 2)
    logits = _KEPT_LOGITS * shape.vocabulary * _written(shape, work)
    return work.batch_rows * (kept * width + logits * 4)


def _blocks(shape: Shape, work: Work) -> list[_Block]:
    """Every block from the lowest up."""
    read = shape.input_positions(work.length)
    return [block for stack in shape.stacks for block in [_block(stack, read, work)] * stack.blocks]


def _block(stack: Stack, read: int, work: Work) -> _Block:
    if stack.macs:
        return _Block(stack.parameters, 0, stack.macs, stack.floats, stack.floats / 4)
    crosses = stack.reads == "target"
    own = work.target if crosses else read
    macs = float(own * stack.parameters + 2 * own * own * stack.hidden)
    if crosses:
        # Keys and values are of what the encoder gives.
        macs += 2 * stack.hidden**2 * (read - own) + 2 * own * read * stack.hidden
    inner = (_KEPT_GATED if stack.gated else _KEPT_INNER) * stack.inner
    kept = own * (_KEPT_WIDTHS * stack.hidden + inner) + (3 * own + 2 * read) * stack.hidden * crosses
    return _Block(stack.parameters, _adapter(stack, work.adapters), macs, kept, own * stack.hidden)


def _adapter(stack: Stack, adapters: Adapters | None) -> int:
    """Numbers of a block's adapter, in every linear layer; by IA3, of keys, values and the feed-forward layer."""
    if adapters is None:
        return 0
    if not adapters.rank:
        return 2 * stack.hidden + stack.inner
    attentions = 2 if stack.reads == "target" else 1
    layers = 3 if stack.gated else 2
    return adapters.rank * (8 * attentions * stack.hidden + layers * (stack.hidden + stack.inner))
