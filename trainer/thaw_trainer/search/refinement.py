"""What is made of the best trials once the search is over: their average, or the best one trained once more."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ray

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import trial_spec
from thaw_api.triggers import UntilSpec
from thaw_trainer.data.joined_store import joined_store
from thaw_trainer.data.store import PreparedStore, digest
from thaw_trainer.errors import error_of
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.soup import SOUP_EPOCH
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.preparation import Prepared
from thaw_trainer.reporting.events import Observer, Refined
from thaw_trainer.search.journal import TrialRecord
from thaw_trainer.slots.assignment import REFINEMENT, Assignment

_WATCHING = ("plateau", "metric", "time")
"""Triggers that go by what was measured."""


@dataclass(frozen=True)
class Chosen:
    """What is tested and exported."""

    trial: FineTuneJobSpec
    store: Path
    folder: Path
    """Checkpoints that hold its tensors as a best file."""
    epoch: int
    told: dict[str, Any] = field(default_factory=dict)
    """For result.json: `soup` or `refit`; empty where it is the best trial as it is."""

    @property
    def trained_on_validation(self) -> bool:
        """Whether the validation rows say nothing of it any more."""
        return "refit" in self.told


def refine(
    spec: FineTuneJobSpec,
    best: TrialRecord,
    others: list[TrialRecord],
    prepared: Prepared,
    exchange: Any,
    output: OutputFolder,
    observer: Observer,
) -> Chosen:
    """The best trial, or what `search.soup` or `search.refit` makes of it.

    Args:
        others: the other trials that have ended, the better first; of as many as `search.soup` checkpoints are there.

    Raises:
        TrainerError: what a trial raises.
    """
    trial = trial_spec(spec, best.parameters)
    report = best.best_report()
    assert report is not None
    chosen = Chosen(trial, prepared.store_of(trial), output.checkpoints(best.name), report["epoch"])
    if spec.search.soup is not None:
        chosen = _stirred(spec, best, others, chosen, exchange, output)
    if spec.search.refit == "trainAndValidation":
        chosen = _trained_again(best, prepared, chosen, exchange, output)
    if chosen.told:
        observer(Refined(chosen.told))
    return chosen


def _stirred(
    spec: FineTuneJobSpec,
    best: TrialRecord,
    others: list[TrialRecord],
    chosen: Chosen,
    exchange: Any,
    output: OutputFolder,
) -> Chosen:
    """The soup, when it is better; only trials of the same model and rows can be averaged."""
    assert spec.search.soup is not None
    members = []
    for record in (best, *others)[: spec.search.soup]:
        other, report = trial_spec(spec, record.parameters), record.best_report()
        if report is not None and other.model == chosen.trial.model and other.data == chosen.trial.data:
            file = Checkpoints(output.checkpoints(record.name)).best_file(report["epoch"])
            members.append({"name": record.name, "file": str(file)})
    assignment = Assignment(
        kind="soup",
        trial=REFINEMENT,
        spec=chosen.trial.manifest(),
        store=str(chosen.store),
        folder=str(output.soup),
        members=tuple(members),
    )
    ray.get(exchange.submit.remote(assignment))
    message = ray.get(exchange.next_message.remote(REFINEMENT))
    if "failure" in message:
        # The search has a result: that averages of it cannot be had is told, and is no end.
        failure = message["failure"]["message"]
        return replace(chosen, told={"soup": {"members": [best.name], "tried": len(members), "failure": failure}})
    told: dict[str, Any] = message["result"]
    if len(told["members"]) < 2:
        return replace(chosen, told={"soup": told})
    return Chosen(chosen.trial, chosen.store, output.soup, SOUP_EPOCH, {"soup": told})


def _trained_again(
    best: TrialRecord, prepared: Prepared, chosen: Chosen, exchange: Any, output: OutputFolder
) -> Chosen:
    """The trial from the start on train and validation, for as many epochs as its best one is."""
    before = PreparedStore(chosen.store)
    store = joined_store(before, output.stores)
    more_rows = store.facts["counts"]["train"] / before.facts["counts"]["train"]
    trial = as_it_was_trained(chosen.trial, best.reports[: chosen.epoch], more_rows)
    # Another trial may be the best one when a killed run goes on: its checkpoints are not this one's.
    folder = output.refit(digest(trial.manifest(), store.folder.name, chosen.epoch))
    assignment = Assignment(
        kind="trial",
        trial=REFINEMENT,
        spec=trial.manifest(),
        store=str(store.folder),
        folder=str(folder),
        prefix=asdict(prepared.prefixes[trial.model.uri]),
        keeps_last=True,
    )
    epochs, seconds = _train(assignment, chosen.epoch, exchange)
    told = {"rows": store.facts["counts"]["train"], "epochs": epochs, "seconds": round(seconds, 3)}
    return Chosen(trial, store.folder, folder, epochs, {"refit": told})


def _train(assignment: Assignment, epochs: int, exchange: Any) -> tuple[int, float]:
    """Has a gang train that many epochs, or as many as the schedule has; returns how many, and their seconds."""
    ray.get(exchange.submit.remote(assignment))
    seconds = 0.0
    while True:
        message: dict[str, Any] = ray.get(exchange.next_message.remote(assignment.trial))
        if "failure" in message:
            raise error_of(message["failure"])
        report: dict[str, Any] = message["report"]
        seconds += float(report["ended"] - report["started"])
        if report["last"] or report["epoch"] >= epochs:
            ray.get(exchange.cancel.remote(assignment.trial))
            return report["epoch"], seconds
        ray.get(exchange.go_on.remote(assignment.trial))


def as_it_was_trained(trial: FineTuneJobSpec, reports: list[dict[str, Any]], more_rows: float) -> FineTuneJobSpec:
    """A trial's spec with phases that end when they did: what a plateau, a metric or the clock decided by is not to be
    measured again on rows that are trained on. Nothing ends it early.

    Args:
        reports: of the epochs that are to be trained again.
        more_rows: how many times the rows of train there are now: a phase of so many steps has as many times the steps.
    """
    training = trial.training.model_copy(update={"early_stopping": None})
    phases = trial.freezing.phases or []
    names = [report["phase"] for report in reports]
    reached = max((index for index, phase in enumerate(phases) if phase.name in names), default=-1)
    ended = [
        phase.model_copy(update={"until": _as_it_ended(phase.until, names.count(phase.name), more_rows)})
        for phase in phases[: reached + 1]
    ]
    freezing = trial.freezing.model_copy(update={"phases": ended}) if ended else trial.freezing
    return trial.model_copy(update={"training": training, "freezing": freezing})


def _as_it_ended(until: UntilSpec, epochs: int, more_rows: float) -> UntilSpec:
    """The end of a phase that lasted so many epochs."""
    conditions = [condition for group in until.any_of for condition in group]
    if any(getattr(condition, name) is not None for condition in conditions for name in _WATCHING):
        return UntilSpec(epochs=epochs)

    def scaled(steps: int | None) -> int | None:
        return None if steps is None else max(1, round(steps * more_rows))

    every = until.all and [each.model_copy(update={"steps": scaled(each.steps)}) for each in until.all]
    return until.model_copy(update={"steps": scaled(until.steps), "all": every})
