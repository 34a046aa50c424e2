"""Everything that is known before training: stores for each searched value, and schedules that resolve."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.schema_model import Scalar
from thaw_api.search import ParameterSpec
from thaw_api.search_space import searched_values, trial_count, trial_spec
from thaw_api.training import RegularizationSpec
from thaw_trainer.data.examples import TEST_ROWS
from thaw_trainer.data.store import PreparedStore, digest
from thaw_trainer.errors import TRIAL_SPEC_INVALID, TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.freezing.progress import longest_phase
from thaw_trainer.freezing.schedule import Phase, resolve_schedule
from thaw_trainer.loop.regularization import regularize
from thaw_trainer.models.adapter import with_adapter
from thaw_trainer.prefix.plan import PrefixPlan, plan_prefix
from thaw_trainer.search.warm_start import earlier_points
from thaw_trainer.tasks.protocol import JobFiles, TaskKind

_OF_THE_STORE = ("data", "model.uri")
_OF_THE_SCHEDULE = ("freezing", "training.epochs")
_OF_THE_ADAPTER = "model.adapter."
_MOST_SCHEDULES = 256
"""A larger space of schedules is judged by so many of them."""


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to be searched."""

    stores: dict[str, Path]
    """Folder of the store for each distinct set of inputs (`inputs_key`)."""
    facts: dict[str, Any]
    """Facts of the store of the spec as it is."""
    layout: Layout
    first_phase: int
    """Epochs of the first freezing phase."""
    prefixes: dict[str, PrefixPlan]
    """What is expected of the prefix cache, by `model.uri`."""

    earlier: list[tuple[dict[str, Scalar], float]] = field(default_factory=list)
    """What trials of earlier runs had for values, and their objective."""

    def store_of(self, spec: FineTuneJobSpec) -> Path:
        """The store of a trial's spec."""
        return self.stores[inputs_key(spec)]

    def key(self) -> str:
        """Digest of all inputs by content."""
        return digest(sorted(path.name for path in self.stores.values()))


def inputs_key(spec: FineTuneJobSpec) -> str:
    """Digest of what a store is made from, as the spec writes it."""
    return digest(spec.model.uri, spec.data.manifest())


def prepare_job(spec: FineTuneJobSpec, kind: TaskKind, files: JobFiles) -> Prepared:
    """Prepares each distinct input once and resolves every schedule that the search may try.

    Raises:
        TrainerError: whatever is wrong with data, model or schedule, with the field's path.
    """
    earlier = earlier_points(spec, files.roots)
    variants = _variants(spec, _OF_THE_STORE)
    stores = {inputs_key(variant): kind.prepare(variant, files) for variant in variants}
    base = stores.get(inputs_key(spec)) or kind.prepare(spec, files)
    if spec.evaluation.slices:
        from thaw_trainer.evaluation.slices import slice_rows  # imports what only conditions need

        for store in {base, *stores.values()}:
            slice_rows(spec.evaluation.slices, PreparedStore(store).table(TEST_ROWS))
    layout = _layout(spec, kind, base)
    phases = check_schedules(spec, layout)
    _check_adapters(spec, kind, base)
    steps_per_epoch = kind.open(spec, base).steps_per_epoch()
    prefixes = {spec.model.uri: _plan_prefix(spec, layout, steps_per_epoch)}
    for variant in variants:
        kind.empty_model(variant, stores[inputs_key(variant)])  # a model refuses what it does not read, such as a size
        if variant.model.uri not in prefixes:
            its_layout = _layout(variant, kind, stores[inputs_key(variant)])
            check_schedules(variant, its_layout)
            prefixes[variant.model.uri] = _plan_prefix(variant, its_layout, steps_per_epoch)
    return Prepared(
        stores=stores | {inputs_key(spec): base},
        facts=PreparedStore(base).facts,
        layout=layout,
        prefixes=prefixes,
        earlier=earlier,
        first_phase=longest_phase(phases[0].until, 0, spec.training.epochs, steps_per_epoch) if len(phases) > 1 else 1,
    )


def check_schedules(spec: FineTuneJobSpec, layout: Layout) -> tuple[Phase, ...]:
    """The spec's own phases, after every value that the search may give a schedule was resolved too."""
    phases = resolve_schedule(spec.freezing, spec.training, layout)
    for index, parameter in enumerate(spec.search.parameters or ()):
        if not parameter.path.startswith(_OF_THE_SCHEDULE):
            continue
        for value in searched_values(parameter):
            variant = trial_spec(spec, {parameter.path: value})
            with _naming(index, parameter.path, value):
                resolve_schedule(variant.freezing, variant.training, layout)
    return phases


def _layout(spec: FineTuneJobSpec, kind: TaskKind, store: Path) -> Layout:
    model = with_adapter(kind.empty_model(spec, store), spec.model)
    layout = find_layout(model, spec.model.blocks)
    regularize(model, layout, _regularization_that_is_tried(spec))
    return layout


def _regularization_that_is_tried(spec: FineTuneJobSpec) -> RegularizationSpec:
    """The spec's, with some dropout if the search may set it: then the model must have what it could be set on."""
    asked = spec.training.regularization
    path = "training.regularization.dropout"
    searched = any(each.path == path for each in spec.search.parameters or ())
    return asked.model_copy(update={"dropout": 0.0}) if searched and asked.dropout is None else asked


def _check_adapters(spec: FineTuneJobSpec, kind: TaskKind, store: Path) -> None:
    """Puts on every adapter that the search may try; the schedule must go with each."""
    for index, parameter in enumerate(spec.search.parameters or ()):
        if not parameter.path.startswith(_OF_THE_ADAPTER):
            continue
        for value in searched_values(parameter):
            variant = trial_spec(spec, {parameter.path: value})
            with _naming(index, parameter.path, value):
                resolve_schedule(variant.freezing, variant.training, _layout(variant, kind, store))


@contextmanager
def _naming(index: int, path: str, value: Scalar) -> Iterator[None]:
    """Says of an error which searched value it comes from."""
    try:
        yield
    except TrainerError as error:
        message = f"path {path} with value {value!r}: {error}"
        raise TrainerError(error.reason, message, f"spec.search.parameters[{index}]") from error


def _plan_prefix(spec: FineTuneJobSpec, layout: Layout, steps_per_epoch: int) -> PrefixPlan:
    """The boundaries of every schedule that the search may try, and how often each is expected."""
    searched = [
        each
        for each in spec.search.parameters or ()
        if each.path.startswith(_OF_THE_SCHEDULE) and ".lr" not in each.path
    ]
    points = product(*(_tried(parameter) for parameter in searched))
    paths = [parameter.path for parameter in searched]
    schedules = []
    for point in islice(points, _MOST_SCHEDULES):
        try:
            variant = trial_spec(spec, dict(zip(paths, point, strict=True)))
            phases = resolve_schedule(variant.freezing, variant.training, layout)
        except (ValueError, TrainerError):
            continue  # values that do not go together are that trial's failure
        # Dropout that goes on in what is frozen leaves nothing to keep.
        kept = () if variant.freezing.frozen_dropout == "on" else phases
        schedules.append((kept, variant.training.epochs))
    return plan_prefix(spec.freezing.cache, schedules, layout, _trials_of_one_adapter(spec), steps_per_epoch)


def _trials_of_one_adapter(spec: FineTuneJobSpec) -> int:
    """How many trials are expected to share what the cache keeps."""
    trials = trial_count(spec)
    searched = [each for each in spec.search.parameters or () if each.path.startswith(_OF_THE_ADAPTER)]
    adapters = prod(len(each.choice.values) if each.choice else trials for each in searched)
    return max(1, trials // adapters)


def _tried(parameter: ParameterSpec) -> list[Scalar]:
    """Every value of a choice or of a short range of whole numbers, or both ends of another range."""
    if parameter.int is not None and parameter.int.max - parameter.int.min < _MOST_SCHEDULES:
        return list(range(parameter.int.min, parameter.int.max + 1))
    return searched_values(parameter)


def _variants(spec: FineTuneJobSpec, prefixes: tuple[str, ...]) -> list[FineTuneJobSpec]:
    """The spec with each combination of the searched values that change a store."""
    searched = [parameter for parameter in spec.search.parameters or () if parameter.path.startswith(prefixes)]
    values: list[list[Scalar]] = []
    for parameter in searched:
        if parameter.choice is None:
            raise TrainerError(
                TRIAL_SPEC_INVALID,
                f"{parameter.path} makes a store for each value: use choice",
                "spec.search.parameters",
            )
        values.append(parameter.choice.values)
    paths = [parameter.path for parameter in searched]
    return [trial_spec(spec, dict(zip(paths, point, strict=True))) for point in product(*values)]
