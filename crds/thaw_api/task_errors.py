"""What a spec asks of its task that the task does not have."""

from thaw_api.field_error import FieldError
from thaw_api.job import FineTuneJobSpec
from thaw_api.schedule_errors import watched_metrics
from thaw_api.steps import step_errors
from thaw_api.tasks import LIBRARIES, TASKS


def task_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Metrics, columns, formats, models and steps that the task does not have."""
    task = TASKS[spec.task]
    named = [
        ("spec.search.objective.metric", spec.search.objective.metric),
        *((f"spec.evaluation.metrics[{i}]", metric) for i, metric in enumerate(spec.evaluation.metrics or ())),
    ]
    if spec.training.early_stopping:
        named.append(("spec.training.earlyStopping.metric", spec.training.early_stopping.metric))
    named += watched_metrics(spec)
    errors = [
        FieldError(path, f"task {spec.task} has no metric {metric!r}; it has {', '.join(task.metrics)}")
        for path, metric in named
        if metric is not None and metric not in task.metrics
    ]
    roles = (*task.columns, *task.optional_columns)
    errors += [
        FieldError(f"spec.data.columns.{role}", f"task {spec.task} has no such role; it has {', '.join(roles)}")
        for role in spec.data.columns
        if role not in roles
    ]
    for name in ("train", "validation", "test"):
        source = getattr(spec.data, name)
        if source is not None and source.format not in (None, *task.formats):
            message = f"task {spec.task} reads {', '.join(task.formats)}; found {source.format}"
            errors.append(FieldError(f"spec.data.{name}.format", message))
    scheme = spec.model.uri.partition(":")[0]
    if scheme in LIBRARIES and scheme not in task.libraries:
        errors.append(FieldError("spec.model.uri", f"{scheme}: has no models for task {spec.task}"))
    if not task.embeds:
        errors += [
            FieldError(f"spec.model.head.{name}", f"task {spec.task} has no embedding; face-recognition has")
            for name in ("embedding", "margin")
            if getattr(spec.model.head, name) is not None
        ]
    errors += step_errors(spec.data.features, task.features, "spec.data.features", spec.task)
    errors += step_errors(spec.data.augment, task.augmentation, "spec.data.augment", spec.task)
    return errors
