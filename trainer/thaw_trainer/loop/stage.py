"""The stage of a trial's schedule that is in effect: a phase, or one turn of its rotation."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.progress import Plan, Progress
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.switch import FrozenPolicy, modules_below, set_trainable
from thaw_trainer.loop.blocks import treat_blocks
from thaw_trainer.loop.checkpoint import Checkpoints, Saved, load_moved
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.learning_rate import phase_factor
from thaw_trainer.loop.optimizer import load_optimizer_tensors, phase_optimizer, set_rates
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.loop.regularization import anchored, average, forget_averages, pull_back, swap_averages
from thaw_trainer.loop.sharding import placed_like, total_norm, whole
from thaw_trainer.models.adapter import is_adapters, layer_of
from thaw_trainer.prefix.cache import Prefix
from thaw_trainer.tasks.protocol import Task

_SUM = "gradient_sum"
_NAMED = 3


@dataclass
class Stage:
    """A trial's module, with the optimizer and the wrapping that the stage wants."""

    model: nn.Module
    layout: Layout
    spec: FineTuneJobSpec
    plan: Plan
    gang: Gang
    task: Task
    checkpoints: Checkpoints
    prefix: Prefix
    saved: Saved | None
    """The checkpoint whose moments the first stage goes on with."""
    pretrained: Mapping[str, torch.Tensor]
    """Values that the trained tensors are pulled towards, by name; see `anchors`."""
    clock: Callable[[], float]
    trained: frozenset[str] = frozenset()
    """Names of the tensors that are trained."""
    phase_entered: float = 0.0
    """When the phase was entered, by the clock."""
    wrapped: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer | None = None
    _factor: Callable[[int], float] = field(init=False)
    _phase: Phase = field(init=False)
    _entered: tuple[int, int] | None = None
    _idle: dict[str, nn.Parameter] = field(default_factory=dict)
    _anchors: dict[nn.Parameter, torch.Tensor] = field(default_factory=dict)

    def enter(self, progress: Progress) -> None:
        """Puts into effect what `progress` has come to, if that is another phase or turn."""
        phase, turn = self.plan.phase(progress), self.plan.turn(progress)
        if self._entered == (progress.phase, turn):
            return
        is_new_phase = self._entered is None or self._entered[0] != progress.phase
        if is_new_phase:
            self._leave_phase(phase, progress)
        self.trained = phase.trained_in(turn)
        set_trainable(self.model, self.layout, self.trained, FrozenPolicy.of(self.spec.freezing))
        if is_new_phase:
            self._enter_phase(phase, progress)
        previous = None if phase.fresh and is_new_phase else self.optimizer
        self.optimizer = phase_optimizer(self.model, self.layout, phase, self.spec.training.optimizer, previous, turn)
        if self.saved and not (phase.fresh and progress.phase_step == 0):
            self.saved.load_optimizer(self.optimizer, self.model, phase.with_moments(turn))
        self.saved = None
        self._anchors = anchored(self.optimizer, self.model, self.pretrained)
        if progress.phase_step == 0:
            self._forget_sums()
        if is_new_phase:
            treat_blocks(self.model, self.layout, phase.train, self.spec.training)
        self.wrapped = self.gang.wrap(self.model)
        self._entered = (progress.phase, turn)

    def step(self, step: int) -> None:
        """Applies the gradients in step number `step` (from 0) of the run, and drops them."""
        assert self.optimizer is not None, "a stage has been entered"
        set_rates(self.optimizer, self._factor(step))
        self.optimizer.step()
        asked = self.spec.training.regularization
        if self._anchors:
            pull_back(self.optimizer, self._anchors, asked.l2_sp)
        if asked.ema_decay:
            average(self.optimizer, asked.ema_decay)
        self._idle = {name: tensor for name, tensor in self._idle.items() if tensor.grad is None}
        if self._phase.adaptive:
            self._add_to_sums(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the trained tensors are their moving averages, where the manifest asks for those."""
        assert self.optimizer is not None, "a stage has been entered"
        swap_averages(self.optimizer)
        try:
            yield
        finally:
            swap_averages(self.optimizer)

    def watch_adapters(self) -> None:
        """Begins to look for adapters that the backward does not reach."""
        named = self.model.named_parameters() if self.spec.model.adapter else ()
        self._idle = {name: tensor for name, tensor in named if name in self.trained and is_adapters(name)}

    def warnings(self) -> list[str]:
        """What has gone otherwise since `watch_adapters` than a person expects."""
        layers = list(dict.fromkeys(layer_of(name) for name in self._idle))
        named = ", ".join(layers[:_NAMED]) + ", …" * (len(layers) > _NAMED)
        told = f"adapters of {len(layers)} layers had no gradient: the model does not call {named}"
        return [told] if layers else []

    def take_norms(self) -> tuple[float, ...]:
        """Norm of each place's gradients summed since the last call; 0 where a place is frozen."""
        assert self.optimizer is not None, "a stage has been entered"
        assert self._phase.adaptive is not None
        named, state = dict(self.model.named_parameters()), self.optimizer.state
        norms = []
        for place in self._phase.adaptive.places:
            sums = [state[named[name]][_SUM] for name in sorted(place) if _SUM in state.get(named[name], {})]
            norms.append(float(total_norm(sums)) if sums else 0.0)
        self._forget_sums()
        return tuple(norms)

    def _add_to_sums(self, optimizer: torch.optim.Optimizer) -> None:
        """Sums gradients in the optimizer's state, where a checkpoint keeps them within an interval."""
        for tensor in self.parameters():
            if tensor.grad is not None:
                state = optimizer.state[tensor]
                state[_SUM] = state[_SUM].add_(tensor.grad) if _SUM in state else tensor.grad.clone()

    def _forget_sums(self) -> None:
        assert self.optimizer is not None, "a stage has been entered"
        for state in self.optimizer.state.values():
            state.pop(_SUM, None)

    def load(self, tensors: dict[str, torch.Tensor], moments: dict[str, torch.Tensor]) -> None:
        """Puts in what was trained elsewhere: tensors by name, and their optimizer's state."""
        assert self.optimizer is not None, "a stage has been entered"
        named = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in tensors.items():
                named[name].copy_(tensor)
        load_optimizer_tensors(self.optimizer, self.model, moments, frozenset(tensors))

    def factor(self) -> Callable[[int], float]:
        """What the phase's peak rates are multiplied by, by steps since the run's start."""
        return self._factor

    def parameters(self) -> list[nn.Parameter]:
        """The tensors that are trained."""
        assert self.optimizer is not None, "a stage has been entered"
        return [tensor for group in self.optimizer.param_groups for tensor in group["params"]]

    def _leave_phase(self, phase: Phase, progress: Progress) -> None:
        """Ends the phase before `phase`; what `phase` begins with may be a better epoch's."""
        if phase.restore_best and progress.phase_step == 0 and progress.best_epoch:
            # Pristine tensors too: some may have been trained only after the best epoch.
            pristine = pristine_model(self.task, self.spec).state_dict()
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(placed_like(tensor, pristine[name]))
            load_moved(self.model, self.checkpoints.best_file(progress.best_epoch))
            if self.optimizer is not None:
                forget_averages(self.optimizer)
        self.prefix.leave()

    def _enter_phase(self, phase: Phase, progress: Progress) -> None:
        self.phase_entered, self._phase = self.clock(), phase
        self._factor = phase_factor(self.spec.training.schedule, phase, progress.phase_began, self.plan.length)
        below = modules_below(self.model, self.layout, phase.train)
        impurity = FrozenPolicy.of(self.spec.freezing).impurity(below)
        with whole(self.model):  # for the proof, which not every worker may have to give
            self.prefix.enter(self.model, phase.train, trained_in(self.plan.phases[: progress.phase]), impurity)


def trained_in(phases: tuple[Phase, ...]) -> frozenset[str]:
    """Tensors that some of these phases train."""
    return frozenset().union(*(phase.train for phase in phases))
