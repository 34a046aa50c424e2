"""What the resource describes but this version does not do yet. Using it is refused, never ignored."""

from pydantic.alias_generators import to_camel

from thaw_api.field_error import FieldError
from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import LIBRARIES, TASKS

_MODEL_SCHEMES = ("hf", "pkg", "file", "pvc", *LIBRARIES)
_DATA_SCHEMES = ("pkg", "file", "pvc", "gymnasium")
_OUTPUT_SCHEMES = ("file", "pvc")
_FORMATS = {name for task in TASKS.values() for name in task.formats}


def unavailable_fields(spec: FineTuneJobSpec) -> list[FieldError]:
    """One error for each use of something that this version does not do yet."""
    method = spec.model.adapter.method if spec.model.adapter else ""
    used = [
        (spec.task not in TASKS, f"task={spec.task}"),
        (_scheme(spec.model.uri) not in _MODEL_SCHEMES, f"model.uri={_scheme(spec.model.uri)}:"),
        (method == "qlora" and spec.training.sharding == "full", "training.sharding=full with qlora"),
        (method == "qlora" and spec.training.compile, "training.compile=true with qlora"),
        (spec.search.algorithm.name == "gp", "search.algorithm.name=gp"),
        (spec.search.scheduler.name in ("median", "pbt"), f"search.scheduler.name={spec.search.scheduler.name}"),
        (spec.cluster.workers is not None and spec.cluster.workers.min is not None, "cluster.workers.min"),
        (_scheme(spec.output.uri) not in _OUTPUT_SCHEMES, f"output.uri={_scheme(spec.output.uri)}:"),
    ]
    for name in ("train", "validation", "test"):
        source = getattr(spec.data, name)
        if source is not None:
            used.append((_scheme(source.uri) not in _DATA_SCHEMES, f"data.{name}.uri={_scheme(source.uri)}:"))
            if source.format is not None:
                used.append((source.format not in _FORMATS, f"data.{name}.format={source.format}"))
    return [
        FieldError(f"spec.{field.partition('=')[0]}", f"not available yet: {field}")
        for is_used, field in used
        if is_used
    ]


_ON_A_CLUSTER_ONLY = ("suspend", "restart_policy", "active_deadline_seconds", "ttl_seconds_after_finished")


def cluster_only_fields(spec: FineTuneJobSpec) -> list[str]:
    """Fields that the manifest sets and that mean nothing on one machine."""
    named = [to_camel(name) for name in _ON_A_CLUSTER_ONLY if name in spec.model_fields_set]
    named += [f"cluster.{name}" for name in ("image", "workers") if name in spec.cluster.model_fields_set]
    return [f"spec.{name}" for name in named]


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]
