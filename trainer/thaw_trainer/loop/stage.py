"""The stage of a trial's schedule that is in effect: a phase, or one turn of its rotation."""

from collections.abc import Callable

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.progress import Plan, Progress
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.switch import FrozenPolicy, set_trainable
from thaw_trainer.loop.checkpoint import Saved, load_moved
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.learning_rate import phase_factor
from thaw_trainer.loop.optimizer import phase_optimizer
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.tasks.protocol import Task


class Stage:
    """A trial's module, wrapped and with its optimizer as the stage wants them."""

    def __init__(self, model: nn.Module, layout: Layout, spec: FineTuneJobSpec, plan: Plan, gang: Gang) -> None:
        self._model, self._layout, self._spec, self._plan, self._gang = model, layout, spec, plan, gang
        self._policy = FrozenPolicy.of(spec.freezing)
        self._entered: tuple[int, int] | None = None
        self.wrapped = model
        self.optimizer: torch.optim.Optimizer
        self.factor: Callable[[int], float]
        """What the peak rates are multiplied by, by the optimizer steps since the run's start."""

    def enter(self, progress: Progress, task: Task, best: Callable[[int], Path], saved: Saved | None) -> bool:
        """Puts into effect what `progress` has come to; whether anything changed.

        Args:
            best: the file of a best epoch's tensors.
            saved: the checkpoint that the trial goes on from, for its first stage.
        """
        phase, turn = self._plan.phase(progress), self._plan.turn(progress)
        if self._entered == (progress.phase, turn):
            return False
        begins = progress.phase_step == 0
        if phase.restore_best and begins and progress.best_epoch:
            self._restore(task, best(progress.best_epoch))
        set_trainable(self._model, self._layout, phase.trained_in(turn), self._policy)
        dropped = phase.fresh and begins
        previous = None if dropped or self._entered is None else self.optimizer
        self.optimizer = phase_optimizer(
            self._model, self._layout, phase, self._spec.training.optimizer, previous, turn
        )
        if saved and not dropped:
            saved.load_optimizer(self.optimizer, self._model, phase.with_moments(turn))
        self.wrapped = self._gang.wrap(self._model)
        self.factor = phase_factor(self._spec.training.schedule, phase, progress.phase_began, self._plan.length)
        self._entered = (progress.phase, turn)
        return True

    def _restore(self, task: Task, file: Path) -> None:
        """Puts back a best epoch: its moved tensors, and the pristine ones that were trained only later."""
        seed_stream(self._spec.training.seed, "head")
        self._model.load_state_dict(task.build().state_dict())
        load_moved(self._model, file)
