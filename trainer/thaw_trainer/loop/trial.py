"""One trial, from pristine weights to its last epoch: read `run_trial` from top to bottom."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import objective
from thaw_api.tasks import Mode
from thaw_trainer.errors import LOSS_NOT_FINITE, TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.progress import Plan, Progress, after_epoch, longest_phase
from thaw_trainer.freezing.schedule import Phase, resolve_schedule, schedule_warnings
from thaw_trainer.freezing.switch import set_trainable
from thaw_trainer.loop.checkpoint import Checkpoints, load_moved
from thaw_trainer.loop.distributed import Gang, without_sync
from thaw_trainer.loop.evaluation import autocast, measure_split
from thaw_trainer.loop.learning_rate import rate_factor
from thaw_trainer.loop.optimizer import phase_optimizer, set_rates
from thaw_trainer.loop.randomness import seed_stream, untouched_process
from thaw_trainer.prefix.cache import Prefix, PrefixSite
from thaw_trainer.tasks.protocol import Task

_STEPS_BETWEEN_CHECKS = 20
"""How often the loss is looked at: on a GPU each look waits for the device."""

_REPORTED_LOSSES = 1000

State = Literal["succeeded", "stopped"]


@dataclass(frozen=True)
class EpochReport:
    """What a trial says after each epoch: metrics of the validation rows, and how it got there."""

    epoch: int
    phase: str
    metrics: dict[str, float]
    train_loss: float
    train_losses: list[float]
    """Mean loss of optimizer steps, evenly thinned out where there are very many."""
    trainable: int
    total: int
    started: float
    """Seconds since the epoch (Unix) when the first step began."""
    ended: float
    best_epoch: int
    last: bool
    prefix: dict[str, Any] = field(default_factory=dict)
    """What the prefix cache did: see `Prefix.facts`."""
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Span:
    """The steps that the learning rate's shape is stretched over, and how many of them were before this epoch."""

    step_before_epoch: int
    steps: int

    @staticmethod
    def of(spec: FineTuneJobSpec, phase: Phase, progress: Progress, steps_per_epoch: int) -> "Span":
        """The whole run up to its cap, or the phase as long as it may last."""
        if spec.training.schedule.span == "run":
            return Span(progress.epoch * steps_per_epoch, spec.training.epochs * steps_per_epoch)
        longest = longest_phase(phase.until, progress.epoch - progress.phase_epoch, spec.training.epochs)
        return Span(progress.phase_epoch * steps_per_epoch, longest * steps_per_epoch)


class Steps:
    """What `run_trial` is given from outside: where to report, the clock, and the prefix cache, if there is one."""

    def __init__(
        self, report: Callable[[dict[str, Any]], bool], clock: Callable[[], float], prefix: PrefixSite | None = None
    ) -> None:
        self.report, self.clock, self.prefix = report, clock, prefix


def run_trial(
    task: Task, spec: FineTuneJobSpec, folder: Path, gang: Gang, steps: Steps, modes: dict[str, Mode], reported: int = 0
) -> State:
    """Trains one trial and returns how it ended.

    Args:
        spec: the trial's own spec, searched paths set.
        folder: the trial's checkpoints; when it holds one, the trial goes on from it.
        steps: `report` is called on rank 0 after each epoch, once its checkpoint is written; it says whether to go on.
        modes: the better direction of each of the task's metrics.
        reported: epochs that are known already; later ones in the checkpoint are reported again, not trained.

    Raises:
        TrainerError: LossNotFinite, OutputNotWritable, or what the schedule's resolution raises.
    """
    with untouched_process():
        seed_stream(spec.training.seed, "head")
        model = task.build().to(gang.device)
        layout, steps_per_epoch = find_layout(model), task.steps_per_epoch()
        phases = resolve_schedule(spec.freezing, spec.training, layout)
        warnings = schedule_warnings(spec.freezing, spec.training.epochs, layout.blocks)
        metric, mode = objective(spec)
        plan = Plan(phases, spec.training.epochs, metric, mode, modes, spec.training.early_stopping)
        prefix = Prefix(steps.prefix, task, spec, layout, gang)
        prefix.prepare(model)
        checkpoints = Checkpoints(folder)
        progress, history, saved = Progress(), [], checkpoints.newest()
        if saved:
            saved.load_weights(model)
            progress, history = Progress.from_dict(saved.state["progress"]), saved.state["history"]
            for report in history[reported:]:
                if not _may_go_on(report, steps, gang) and not report["last"]:
                    return "stopped"
            if history[-1]["last"]:
                return "succeeded"
        optimizer: torch.optim.Optimizer | None = None
        entered = -1
        while True:
            phase = phases[progress.phase]
            if progress.phase != entered:
                if phase.restore_best and progress.phase_epoch == 0 and progress.best_epoch:
                    _restore(model, task, spec, checkpoints.best_file(progress.best_epoch))
                prefix.leave()
                set_trainable(model, layout, phase.train)
                prefix.enter(model, phase.train, _trained_in(phases[: progress.phase]))
                optimizer = phase_optimizer(model, layout, phase, spec.training.optimizer, optimizer)
                wrapped = gang.wrap(model)
                entered = progress.phase
                if saved:
                    saved.load_optimizer(optimizer, model)
                    saved = None
            assert optimizer is not None
            started = steps.clock()
            span = Span.of(spec, phase, progress, steps_per_epoch)
            losses = _train_epoch(task, spec, wrapped, optimizer, progress, span, gang, prefix)
            gang.average_buffers(model)
            metrics = measure_split(model, task, "validation", gang, spec.training, prefix.giving)
            progress, move = after_epoch(progress, metrics, plan)
            report = EpochReport(
                epoch=progress.epoch,
                phase=phase.name,
                metrics=metrics,
                train_loss=sum(losses) / len(losses),
                train_losses=losses[:: 1 + len(losses) // _REPORTED_LOSSES],
                trainable=sum(layout.size[name] for name in phase.train),
                total=sum(layout.size.values()),
                started=started,
                ended=steps.clock(),
                best_epoch=progress.best_epoch,
                last=move == "end",
                prefix=prefix.facts(),
                warnings=[*warnings, *(_unreached(phases, progress) if move == "end" else ())],
            ).as_dict()
            history.append(report)
            if gang.rank == 0:
                moved = _moved(phases, progress, move)
                state = {"progress": progress.as_dict(), "history": history}
                checkpoints.save(progress.epoch, model, moved, optimizer, state, progress.best_epoch)
            go_on = _may_go_on(report, steps, gang)
            if move == "end":
                return "succeeded"
            if not go_on:
                return "stopped"


def _train_epoch(
    task: Task,
    spec: FineTuneJobSpec,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    span: Span,
    gang: Gang,
    prefix: Prefix,
) -> list[float]:
    """One pass over the training rows; returns each step's mean loss over all workers.

    Gradients are of the summed loss and are divided by the count over all workers and parts in the end, so that
    neither ragged ends nor the number of workers change the result. Nothing waits for the device between checks.
    """
    training = spec.training
    seed_stream(training.seed, "training", progress.epoch, gang.rank)
    model.train()
    trained = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    losses: list[torch.Tensor] = []
    batches = iter(task.batches("train", progress.epoch, gang.share))
    while parts := list(islice(batches, training.gradient_accumulation)):
        sums = torch.zeros(2, dtype=torch.float64, device=gang.device)  # loss, count
        for index, batch in enumerate(parts):
            with without_sync(model, skip=index < len(parts) - 1):
                with prefix.giving(batch), autocast(training, gang.device):
                    loss, count = task.step(model, batch, gang.device)
                torch.autograd.backward(loss)
            sums += torch.stack([loss.detach().double(), torch.tensor(count, dtype=torch.float64, device=gang.device)])
        gang.sum(sums)
        losses.append(sums[0] / sums[1])
        _scale_and_clip(trained, (gang.size / sums[1]).float(), training.clip_norm)
        set_rates(optimizer, rate_factor(training.schedule, span.step_before_epoch + len(losses) - 1, span.steps))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if len(losses) % _STEPS_BETWEEN_CHECKS == 0:
            _check_finite(losses, progress.epoch)
    return _check_finite(losses, progress.epoch)


def _scale_and_clip(tensors: list[nn.Parameter], scale: torch.Tensor, clip_norm: float) -> None:
    torch._foreach_mul_([tensor.grad for tensor in tensors if tensor.grad is not None], scale)
    if clip_norm > 0:
        torch.nn.utils.clip_grad_norm_(tensors, clip_norm, foreach=True)


def _check_finite(losses: list[torch.Tensor], epoch: int) -> list[float]:
    values: list[float] = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise TrainerError(
                LOSS_NOT_FINITE,
                f"the loss became {value} in step {step} of epoch {epoch + 1}; a lower rate or clipNorm may help",
                "spec.training.optimizer.lr",
            )
    return values


def _restore(model: nn.Module, task: Task, spec: FineTuneJobSpec, file: Path) -> None:
    """Puts back a best epoch: its moved tensors, and the pristine ones that were trained only later."""
    seed_stream(spec.training.seed, "head")
    model.load_state_dict(task.build().state_dict())
    load_moved(model, file)


def _may_go_on(report: dict[str, Any], steps: Steps, gang: Gang) -> bool:
    go_on: bool = gang.broadcast(steps.report(report) if gang.rank == 0 else None)
    return go_on


def _moved(phases: tuple[Phase, ...], progress: Progress, move: str) -> frozenset[str]:
    """Tensors that some phase so far has trained."""
    entered = progress.phase if move == "next-phase" else progress.phase + 1
    return _trained_in(phases[:entered])


def _trained_in(phases: tuple[Phase, ...]) -> frozenset[str]:
    return frozenset().union(*(phase.train for phase in phases))


def _unreached(phases: tuple[Phase, ...], progress: Progress) -> list[str]:
    return [
        f"phase {phase.name} was never reached: training ended after {progress.epoch} epochs"
        for phase in phases[progress.phase + 1 :]
    ]
