"""One trial, from pristine weights to its last epoch: read `run_trial` from top to bottom."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import objective
from thaw_api.tasks import Mode
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.presets import schedule_warnings
from thaw_trainer.freezing.progress import Plan, Progress, after_epoch, after_interval, after_steps, steps_to_go
from thaw_trainer.freezing.schedule import Phase, resolve_schedule
from thaw_trainer.freezing.triggers import Length
from thaw_trainer.fused.ahead import Ahead, GroupSite, ahead_of
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.distributed import Gang, without_sync
from thaw_trainer.loop.evaluation import autocast, measure_split
from thaw_trainer.loop.first_phase import FirstPhase
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.loop.randomness import seed_stream, untouched_process
from thaw_trainer.loop.regularization import anchors, regularize
from thaw_trainer.loop.sharding import SameTensors, is_divided, shard
from thaw_trainer.loop.stage import Stage, trained_in
from thaw_trainer.loop.updates import check_finite, scale_and_clip
from thaw_trainer.prefix.cache import Prefix
from thaw_trainer.prefix.memory import PrefixSite
from thaw_trainer.tasks.protocol import Acts, Batch, Task

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
    shared: bool = False
    """Whether another trial has trained it: see `FirstPhase`."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


class Steps:
    """What `run_trial` is given from outside: where to report, the clock, and what its process keeps between trials."""

    def __init__(
        self,
        report: Callable[[dict[str, Any]], bool],
        clock: Callable[[], float],
        prefix: PrefixSite | None = None,
        group: GroupSite | None = None,
        first_phase: Path | None = None,
        keeps_last: bool = False,
    ) -> None:
        """
        Args:
            first_phase: where trials with the same first phase leave and find its checkpoint.
            keeps_last: the newest epoch counts as the best, whatever is measured.
        """
        self.report, self.clock, self.prefix, self.group = report, clock, prefix, group
        self.first_phase, self.keeps_last = first_phase, keeps_last


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
        model = pristine_model(task, spec).to(gang.device)
        layout, length = find_layout(model, spec.model.blocks), Length(spec.training.epochs, task.steps_per_epoch())
        phases = resolve_schedule(spec.freezing, spec.training, layout)
        has_stem = bool(layout.names(-1, -1))
        warnings = schedule_warnings(spec.freezing, spec.training.epochs, layout.blocks, has_stem)
        regularization = spec.training.regularization
        regularize(model, layout, regularization)
        pretrained = anchors(model, layout, phases) if regularization.l2_sp else {}
        metric, mode = objective(spec)
        plan = Plan(phases, length, metric, mode, modes, spec.training.early_stopping, steps.keeps_last)
        prefix = Prefix(steps.prefix, task, spec, layout, gang)
        prefix.prepare(model)
        checkpoints, first_phase = Checkpoints(folder), FirstPhase(steps.first_phase, gang)
        # Who takes the phase may be stopped after any epoch of it: each best one's tensors go along.
        checkpoints.keep_bests = steps.first_phase is not None
        first_phase.take(checkpoints, warnings, steps.clock())
        progress, history, saved = Progress(), [], checkpoints.newest()
        if saved:
            saved.load_weights(model)
            progress, history = Progress.from_dict(saved.state["progress"]), saved.state["history"]
            if progress.phase == 1 and progress.phase_step == 0:
                first_phase.leave(checkpoints)  # where an earlier process was killed in between
            for report in history[reported:]:
                if not _may_go_on(report, steps, gang) and not report["last"]:
                    return "stopped"
            if history[-1]["last"]:
                return "succeeded"
        if spec.training.sharding == "full" and gang.size > 1:
            shard(model, layout, gang)
        if isinstance(task, Acts):
            task.follow(model, gang)
        stage = Stage(model, layout, spec, plan, gang, task, checkpoints, prefix, saved, pretrained, steps.clock)
        ahead: Ahead | None = None
        while True:
            stage.enter(progress)
            if progress.epoch == 0:
                ahead = ahead_of(steps.group, stage, phases)
            started = steps.clock()
            known = ahead.epoch(progress.epoch + 1) if ahead else None
            if known is not None:
                losses, metrics = known.losses, known.metrics
                stage.load(known.tensors, known.moments)
                progress, _ = after_steps(progress, len(losses), plan)
            else:
                ahead = None
                losses, progress = _train_epoch(task, spec, stage, progress, plan, gang, prefix)
                gang.average_buffers(model)
                with stage.averaged():
                    metrics = measure_split(model, task, "validation", gang, spec.training, prefix.giving)
            seconds = gang.broadcast(steps.clock() - max(started, stage.phase_entered))
            phase = plan.phase(progress)
            progress, move = after_epoch(progress, metrics, plan, seconds)
            report = EpochReport(
                epoch=progress.epoch,
                phase=phase.name,
                metrics=metrics,
                train_loss=sum(losses) / len(losses),
                train_losses=losses[:: 1 + len(losses) // _REPORTED_LOSSES],
                trainable=sum(layout.size[name] for name in stage.trained),
                total=layout.total,
                started=started,
                ended=steps.clock(),
                best_epoch=progress.best_epoch,
                last=move == "end",
                prefix=prefix.facts(),
                warnings=[*warnings, *stage.warnings(), *(_unreached(phases, progress) if move == "end" else ())],
            ).as_dict()
            history.append(report)
            moved = _moved(phases, progress, move)
            state = {"progress": progress.as_dict(), "history": history}
            assert stage.optimizer is not None
            best, writes = progress.best_epoch, gang.rank == 0
            averaged = stage.averaged if regularization.ema_decay else None
            checkpoints.save(progress.epoch, model, moved, stage.optimizer, state, best, writes, averaged)
            if move == "next-phase" and progress.phase == 1:
                first_phase.leave(checkpoints)
                checkpoints.keep_bests = False
            go_on = _may_go_on(report, steps, gang)
            if move == "end":
                return "succeeded"
            if not go_on:
                return "stopped"


def _train_epoch(
    task: Task, spec: FineTuneJobSpec, stage: Stage, progress: Progress, plan: Plan, gang: Gang, prefix: Prefix
) -> tuple[list[float], Progress]:
    """One pass over the training rows, through every stage that begins in it, or up to the end of the run.

    Returns:
        Each step's mean loss over all workers, and the progress, whose epoch is not counted yet.
    """
    batches = iter(task.batches("train", progress.epoch, gang.share))
    losses: list[torch.Tensor] = []
    first = progress.step
    while True:
        stage.enter(progress)
        stage.watch_adapters()
        # A stage that begins in mid-epoch has numbers of its own: what was drawn before it makes no difference.
        stream = "training" if progress.step == first else f"training from step {progress.step}"
        seed_stream(spec.training.seed, stream, progress.epoch, gang.rank)
        steps = range(progress.step, progress.step + steps_to_go(progress, plan))
        _train_steps(task, spec, stage, batches, progress.epoch, steps, losses, gang, prefix)
        progress, move = after_steps(progress, len(steps), plan)
        if move == "continue" and plan.ends_interval(progress):
            progress = after_interval(progress, gang.broadcast(stage.take_norms()), plan)
        if move == "end" or progress.step == plan.length.epoch_end(first):
            return check_finite(losses, progress.epoch + 1), progress


def _train_steps(
    task: Task,
    spec: FineTuneJobSpec,
    stage: Stage,
    batches: Iterator[Batch],
    epoch: int,
    steps: range,
    losses: list[torch.Tensor],
    gang: Gang,
    prefix: Prefix,
) -> None:
    """Optimizer steps of one stage; each one's mean loss goes to `losses`.

    Gradients are of the summed loss and are divided by the count over all workers and parts in the end, so that
    neither ragged ends nor the number of workers change the result. Nothing waits for the device between checks.
    """
    training = spec.training
    model = stage.wrapped.train()
    trained, same = stage.parameters(), SameTensors(gang, is_divided(stage.model))
    for step in steps:
        parts = list(islice(batches, training.gradient_accumulation))
        sums = torch.zeros(2, dtype=torch.float64, device=gang.device)  # loss, count
        for index, batch in enumerate(parts):
            with without_sync(model, skip=index < len(parts) - 1):
                with prefix.giving(batch), autocast(training, gang.device):
                    loss, count = task.step(model, batch, gang.device)
                torch.autograd.backward(loss)
            sums += torch.stack([loss.detach().double(), torch.tensor(count, dtype=torch.float64, device=gang.device)])
        gang.sum(sums)
        losses.append(sums[0] / sums[1])
        same.look(trained)
        scale_and_clip(trained, (gang.size / sums[1]).float(), training.clip_norm)
        stage.step(step)
        if len(losses) % _STEPS_BETWEEN_CHECKS == 0:
            check_finite(losses, epoch + 1)
    same.check()


def _may_go_on(report: dict[str, Any], steps: Steps, gang: Gang) -> bool:
    go_on: bool = gang.broadcast(steps.report(report) if gang.rank == 0 else None)
    return go_on


def _moved(phases: tuple[Phase, ...], progress: Progress, move: str) -> frozenset[str]:
    """Tensors that some phase so far has trained."""
    entered = progress.phase if move == "next-phase" else progress.phase + 1
    return trained_in(phases[:entered])


def _unreached(phases: tuple[Phase, ...], progress: Progress) -> list[str]:
    return [
        f"phase {phase.name} was never reached: training ended after {progress.epoch} epochs"
        for phase in phases[progress.phase + 1 :]
    ]
