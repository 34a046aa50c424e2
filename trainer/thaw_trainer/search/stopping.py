"""When a trial is given up: Ray Tune's asynchronous successive halving, fed by ordinal so that it can be replayed."""

from types import SimpleNamespace
from typing import Protocol

from thaw_api.search import SchedulerSpec
from thaw_api.tasks import Mode


class StoppingRule(Protocol):
    """Decides after each epoch of a trial."""

    def may_go_on(self, ordinal: int, epoch: int, value: float) -> bool:
        """Whether a trial with this objective after `epoch` epochs is trained on."""


class NeverStop:
    """Every trial is trained to its end."""

    def may_go_on(self, ordinal: int, epoch: int, value: float) -> bool:
        """See StoppingRule."""
        return True


class Asha:
    """Asynchronous successive halving (arXiv 1810.05934): at each rung the best 1/reduction_factor go on."""

    def __init__(self, mode: Mode, epochs: int, grace_epochs: int, reduction_factor: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        self._scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="objective",
            mode=mode,
            max_t=epochs + 1,
            grace_period=min(grace_epochs, epochs),
            reduction_factor=reduction_factor,
            stop_last_trials=False,
        )
        self._added: set[int] = set()

    def may_go_on(self, ordinal: int, epoch: int, value: float) -> bool:
        """See StoppingRule."""
        trial = SimpleNamespace(trial_id=str(ordinal))
        if ordinal not in self._added:
            self._added.add(ordinal)
            self._scheduler.on_trial_add(None, trial)
        decision = self._scheduler.on_trial_result(None, trial, {"epoch": epoch, "objective": value})
        return bool(decision != "STOP")


def stopping_rule(spec: SchedulerSpec, mode: Mode, epochs: int, first_phase: int) -> StoppingRule:
    """The rule that a spec asks for; the grace period is the first phase's epochs unless the manifest says it."""
    if spec.name == "none":
        return NeverStop()
    return Asha(mode, epochs, spec.grace_epochs or first_phase, spec.reduction_factor)
