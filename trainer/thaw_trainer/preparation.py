"""Everything that is known before training: stores for each searched value, and schedules that resolve."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.schema_model import Scalar
from thaw_api.search_space import searched_values, trial_spec
from thaw_trainer.data.store import PreparedStore, digest
from thaw_trainer.errors import TRIAL_SPEC_INVALID, TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.freezing.progress import longest_phase
from thaw_trainer.freezing.schedule import Phase, resolve_schedule
from thaw_trainer.tasks.protocol import JobFiles, TaskKind

_OF_THE_STORE = ("data", "model.uri")
_OF_THE_SCHEDULE = ("freezing", "training.epochs")


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
    variants = _variants(spec, _OF_THE_STORE)
    stores = {inputs_key(variant): kind.prepare(variant, files) for variant in variants}
    base = stores.get(inputs_key(spec)) or kind.prepare(spec, files)
    layout = find_layout(kind.empty_model(spec, base))
    phases = check_schedules(spec, layout)
    for variant in variants:
        if variant.model != spec.model:
            check_schedules(variant, find_layout(kind.empty_model(variant, stores[inputs_key(variant)])))
    return Prepared(
        stores=stores | {inputs_key(spec): base},
        facts=PreparedStore(base).facts,
        layout=layout,
        first_phase=longest_phase(phases[0].until, 0, spec.training.epochs) if len(phases) > 1 else 1,
    )


def check_schedules(spec: FineTuneJobSpec, layout: Layout) -> tuple[Phase, ...]:
    """The spec's own phases, after every value that the search may give a schedule was resolved too."""
    phases = resolve_schedule(spec.freezing, spec.training, layout)
    for index, parameter in enumerate(spec.search.parameters or ()):
        if not parameter.path.startswith(_OF_THE_SCHEDULE):
            continue
        for value in searched_values(parameter):
            variant = trial_spec(spec, {parameter.path: value})
            try:
                resolve_schedule(variant.freezing, variant.training, layout)
            except TrainerError as error:
                raise TrainerError(
                    error.reason,
                    f"path {parameter.path} with value {value!r}: {error}",
                    f"spec.search.parameters[{index}]",
                ) from error
    return phases


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
