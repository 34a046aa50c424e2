"""A search from an opened journal to its last trial."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import objective, trial_count, trial_spec
from thaw_trainer.durations import seconds_of
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.fused.kin import MOST_IN_A_STEP
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.first_phase import first_phase_key
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.preparation import Prepared
from thaw_trainer.reporting.events import Event, Observer, SearchStarted, TrialEnded
from thaw_trainer.search.journal import Journal, TrialRecord
from thaw_trainer.search.ledger import Ledger, SearchLimits
from thaw_trainer.search.parallelism import SlotPlan
from thaw_trainer.search.points import Point, points_of
from thaw_trainer.search.stopping import stopping_rule
from thaw_trainer.search.tuning import tune_trials
from thaw_trainer.slots.assignment import Assignment

_MOST_POINTS = 256
"""Trials beyond share no first phase: resolving a schedule takes up to 20 ms where there are many blocks and phases."""


def open_ledger(
    spec: FineTuneJobSpec, journal: Journal, prepared: Prepared, output: OutputFolder, observer: Observer
) -> Ledger:
    metric, mode = objective(spec)
    rule = stopping_rule(spec.search.scheduler, mode, spec.training.epochs, prepared.first_phase)
    budget = spec.search.time_budget
    limits = SearchLimits(trial_count(spec), time.time() + seconds_of(budget) if budget else None)

    def observe(event: Event) -> None:
        if isinstance(event, TrialEnded):
            _forget_checkpoints(ledger, event.record, output, spec.search.soup or 1)
        observer(event)

    points = points_of(spec, len(journal.records))
    for ordinal, (point, value) in enumerate(prepared.earlier, start=1):
        points.tell(-ordinal, point, value)
    ledger = Ledger(journal, points, rule, limits, metric, mode, observe, time.time)
    return ledger


def _forget_checkpoints(ledger: Ledger, ended: TrialRecord, output: OutputFolder, most: int) -> None:
    """Keeps what can still be asked for: of trials that are over, only the best ones' best epochs, `most` of them."""
    kept = ledger.ranked()[:most]
    for record in ledger.records:
        if record.state != "running" and record not in kept:
            shutil.rmtree(output.checkpoints(record.name), ignore_errors=True)
    if ended in kept:
        Checkpoints(output.checkpoints(ended.name)).keep_best_only()


def _forget_shared_checkpoints(ledger: Ledger, output: OutputFolder) -> None:
    """Removes what no trial can go on from any more, and copies that were never finished."""
    kept = {record.name for record in ledger.records}
    refits = output.refit("").name
    for folder in output.checkpoints("").glob("*"):
        if folder.name not in kept and not folder.name.startswith(refits):
            shutil.rmtree(folder, ignore_errors=True)


def search_started(spec: FineTuneJobSpec, ledger: Ledger, plan: SlotPlan) -> SearchStarted:
    """The event of the search's beginning."""
    metric, mode = objective(spec)
    over = [record for record in ledger.records if record.state != "running"]
    return SearchStarted(
        trials=trial_count(spec),
        slots=plan.slots,
        workers=plan.workers,
        threads=plan.threads,
        finished=len(over),
        interrupted=len(ledger.records) - len(over),
        metric=metric,
        mode=mode,
        epochs=spec.training.epochs,
        records=tuple(ledger.records),
    )


def run_search(
    spec: FineTuneJobSpec, ledger: Ledger, prepared: Prepared, exchange: Any, plan: SlotPlan, output: OutputFolder
) -> None:
    def companions(record: TrialRecord) -> dict[int, dict[str, Any]]:
        """As many later trials for each slot as there are slots to share them."""
        if not all(prefix.heads_only for prefix in prepared.prefixes.values()):
            return {}
        points = ledger.expected(record.ordinal, plan.slots, MOST_IN_A_STEP - 1)
        return {ordinal: trial_spec(spec, point).manifest() for ordinal, point in points.items()}

    first_phases = shared_first_phases(spec, prepared.layout, ledger.points())

    def assign(record: TrialRecord) -> Assignment:
        trial = trial_spec(spec, record.parameters)
        key = first_phases.get(record.ordinal)
        return Assignment(
            kind="trial",
            trial=record.ordinal,
            spec=trial.manifest(),
            store=str(prepared.store_of(trial)),
            folder=str(output.checkpoints(record.name)),
            reported=len(record.reports),
            companions=companions(record),
            prefix=asdict(prepared.prefixes[trial.model.uri]),
            first_phase=str(output.first_phase(key)) if key else "",
        )

    if ledger.has_more():
        tune_trials(ledger, assign, exchange, objective(spec)[0], plan.slots, output.ray)
    if not ledger.has_more():
        _forget_shared_checkpoints(ledger, output)


def shared_first_phases(spec: FineTuneJobSpec, layout: Layout, points: Mapping[int, Point]) -> dict[int, str]:
    """Ordinals of trials whose first phase another trial has too -> its digest.

    Args:
        points: of every trial whose point is certain.
    """
    if any(parameter.path.startswith("model") for parameter in spec.search.parameters or ()):
        return {}  # the layout is that of one model
    points = dict(islice(points.items(), _MOST_POINTS))
    keys: dict[int, str] = {}
    for ordinal, point in points.items():
        try:
            key = first_phase_key(trial_spec(spec, point), layout)
        except (ValueError, TrainerError):
            continue  # values that do not go together are that trial's failure
        if key is not None:
            keys[ordinal] = key
    counts = Counter(keys.values())
    return {ordinal: key for ordinal, key in keys.items() if counts[key] > 1}
