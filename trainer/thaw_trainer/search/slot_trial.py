"""A trial as Ray Tune sees it: it hands over to a slot. Imports little, since each of Tune's actors loads it."""

import json
import math
from typing import Any

import ray
from ray import tune

from thaw_trainer.slots.assignment import Assignment


class SlotTrial(tune.Trainable):  # type: ignore[misc]
    """A trial as Tune sees it: each step hands over to a slot and returns with the slot's next report.

    `setup` and `reset_config` only store, since Tune may call them long before the trial's turn.
    """

    _submitted = False

    def setup(self, config: dict[str, Any], exchange: Any) -> None:
        """Called once in the actor's life."""
        self._exchange = exchange
        self._store(config)

    def step(self) -> dict[str, Any]:
        """Lets the slot train one epoch, and waits for what it says."""
        if not self._submitted:
            self._submitted = True
            ray.get(self._exchange.submit.remote(self._assignment))
        else:
            ray.get(self._exchange.go_on.remote(self._assignment.trial))
        message = ray.get(self._exchange.next_message.remote(self._assignment.trial))
        report = message.get("report")
        return {
            "objective": report["metrics"][self._metric] if report else math.nan,
            "message": json.dumps(message),  # as text, or Tune would flatten it
        }

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The actor goes on with another trial."""
        self._leave()
        self._store(new_config)
        return True

    def cleanup(self) -> None:
        """The actor is stopped."""
        self._leave()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a trial's checkpoints are the slot's."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a trial's checkpoints are the slot's."""

    def _store(self, config: dict[str, Any]) -> None:
        self._assignment, self._metric, self._submitted = Assignment(**config["assignment"]), config["metric"], False

    def _leave(self) -> None:
        if self._submitted:
            ray.get(self._exchange.cancel.remote(self._assignment.trial))
