"""Ray Tune's side of the search: adapters that ask the ledger.

Tune decides when trials begin and carries decisions to them; the ledger decides what. No trial is `done` of itself:
each result goes to the scheduler, whose answer is the ledger's.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from thaw_api.contract import HEAD_RESOURCE
from thaw_trainer.errors import WORKER_LOST, TrainerError
from thaw_trainer.search.journal import TrialRecord
from thaw_trainer.search.ledger import Ledger
from thaw_trainer.search.slot_trial import SlotTrial
from thaw_trainer.slots.assignment import Assignment


class LedgerSearcher(Searcher):  # type: ignore[misc]
    """Asks the ledger for the next trial."""

    def __init__(self, ledger: Ledger, assign: Callable[[TrialRecord], Assignment], metric: str) -> None:
        super().__init__(metric="objective", mode="max")
        self._ledger, self._assign, self._objective = ledger, assign, metric
        self.ordinals: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """See Searcher."""
        record = self._ledger.next_trial()
        if record is None:
            return Searcher.FINISHED
        self.ordinals[trial_id] = record.ordinal
        return {"assignment": asdict(self._assign(record)), "metric": self._objective}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See Searcher; told to the ledger only when the trial's actor itself died."""
        if error:
            failure = TrainerError(WORKER_LOST, "the search's own actor for it died; see logs/", cause="infrastructure")
            self._ledger.fail(self.ordinals[trial_id], failure.as_dict())

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves what it was given, and the journal is the truth."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the truth."""


class LedgerScheduler(FIFOScheduler):  # type: ignore[misc]
    """Asks the ledger whether a trial goes on."""

    def __init__(self, ledger: Ledger, searcher: LedgerSearcher) -> None:
        super().__init__()
        self._ledger, self._searcher = ledger, searcher

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves what it was given, and the journal is the truth."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """See TrialScheduler."""
        message = json.loads(result["message"])
        ordinal = self._searcher.ordinals[trial.trial_id]
        if "failure" in message:
            self._ledger.fail(ordinal, message["failure"])
            return str(TrialScheduler.STOP)
        goes_on = self._ledger.report(ordinal, message["report"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


def tune_trials(
    ledger: Ledger,
    assign: Callable[[TrialRecord], Assignment],
    exchange: Any,
    metric: str,
    slots: int,
    storage: Path,
) -> None:
    """Runs the search to its end; afterwards the ledger has every trial."""
    searcher = LedgerSearcher(ledger, assign, metric)
    resources = tune.PlacementGroupFactory([{"CPU": 0, HEAD_RESOURCE: 0.001}])
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(SlotTrial, exchange=exchange), resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=LedgerScheduler(ledger, searcher),
            num_samples=-1,
            max_concurrent_trials=slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(storage),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    # What Tune saves of the search is never read: that it could not be saved is no news, nor how a full disk is told.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    tuner.fit()
