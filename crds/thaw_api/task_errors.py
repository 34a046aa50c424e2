"""What a spec asks of its task that the task does not have."""

from thaw_api.agent_errors import agent_errors
from thaw_api.field_error import FieldError
from thaw_api.job import FineTuneJobSpec
from thaw_api.schedule_errors import choosing_metrics
from thaw_api.steps import step_errors
from thaw_api.tasks import LIBRARIES, TASKS


def task_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Metrics, columns, labels, formats, models and steps that the task does not have."""
    task, called = spec.task_entry, _called(spec)
    named = [
        *choosing_metrics(spec),
        *((f"spec.evaluation.metrics[{i}]", metric) for i, metric in enumerate(spec.evaluation.metrics or ())),
        *((f"spec.evaluation.require.{metric}", metric) for metric in spec.evaluation.require or ()),
    ]
    errors = [
        FieldError(path, f"{called} has no metric {metric!r}; it has {', '.join(task.metrics)}")
        for path, metric in named
        if metric is not None and metric not in task.metrics
    ]
    errors += [
        FieldError(
            f"spec.data.columns.{role}",
            f"task {spec.task} has no such role; it has {', '.join(task.roles) or 'none'}",
        )
        for role in spec.data.columns
        if role not in task.roles
    ]
    errors += _mixed_alternatives(spec) + _label_errors(spec) + _batching_errors(spec)
    for name in ("train", "validation", "test"):
        source = getattr(spec.data, name)
        if source is not None and source.format not in (None, *task.formats):
            message = f"task {spec.task} reads {', '.join(task.formats)}; found {source.format}"
            errors.append(FieldError(f"spec.data.{name}.format", message))
    scheme = spec.model.uri.partition(":")[0]
    if scheme in LIBRARIES and scheme not in task.libraries:
        errors.append(FieldError("spec.model.uri", f"{scheme}: has no models for task {spec.task}"))
    if spec.training.label_smoothing and not task.smooths_labels:
        errors.append(FieldError("spec.training.labelSmoothing", f"the loss of {called} has no labels to smooth"))
    errors += _regularization_errors(spec)
    if spec.search.refit != "none" and spec.freezing.preset == "chain-thaw":
        message = "the phases of preset chain-thaw end by what is measured: write them out as freezing.phases"
        errors.append(FieldError("spec.search.refit", message))
    if spec.search.refit != "none" and spec.evaluation.label_errors is not None and spec.data.validation is not None:
        message = "with search.refit, rows of two sources are trained on: their numbers would not say which"
        errors.append(FieldError("spec.evaluation.labelErrors", message))
    if spec.training.class_weights != "none" and not task.classifies:
        errors.append(FieldError("spec.training.classWeights", f"{called} is no classifier of one label"))
    if spec.evaluation.label_errors is not None and not task.classifies:
        errors.append(FieldError("spec.evaluation.labelErrors", f"{called} is no classifier of one label"))
    if spec.search.refit != "none" and not task.refits:
        why = "is not available yet" if task.reads_tokens else "needs rows of the same kind in train and validation"
        errors.append(FieldError("spec.search.refit", f"for task {spec.task} it {why}"))
    if not task.writes_text:
        message = f"models of task {spec.task} write no text"
        given = (
            ("spec.data.batching.maxTargetLength", spec.data.batching.max_target_length),
            ("spec.evaluation.generation", spec.evaluation.generation),
        )
        errors += [FieldError(path, message) for path, value in given if value is not None]
    if not task.embeds:
        errors += [
            FieldError(f"spec.model.head.{name}", f"task {spec.task} has no embedding; face-recognition has")
            for name in ("embedding", "margin")
            if getattr(spec.model.head, name) is not None
        ]
    errors += agent_errors(spec, task.acts)
    errors += step_errors(spec.data.clean, task.cleaning, "spec.data.clean", spec.task)
    errors += step_errors(spec.data.features, task.features, "spec.data.features", spec.task)
    errors += step_errors(spec.data.augment, task.augmentation, "spec.data.augment", spec.task)
    return errors


def _regularization_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Regularizers that the task or the model has no use for."""
    asked, where = spec.training.regularization, "spec.training.regularization"
    errors = []
    if asked.r_drop and not spec.task_entry.classifies:
        errors.append(FieldError(f"{where}.rDrop", f"{_called(spec)} is no classifier of one label"))
    if asked.r_drop and spec.task == "audio-classification" and spec.cluster.workers_per_trial > 1:
        message = "several workers wait for gradients of layers that LayerDrop skips in one pass alone: use one"
        errors.append(FieldError(f"{where}.rDrop", message))
    if asked.l2_sp and spec.model.adapter is not None:
        errors.append(FieldError(f"{where}.l2Sp", "with model.adapter no pretrained tensor is trained"))
    if asked.l2_sp and spec.model.init == "random":
        errors.append(FieldError(f"{where}.l2Sp", "with model.init: random there are no pretrained weights"))
    if TASKS[spec.task].acts:
        fields = (("dropout", asked.dropout is not None), ("stochasticDepth", bool(asked.stochastic_depth)))
        message = "a policy has neither dropout nor blocks to skip"
        errors += [FieldError(f"{where}.{name}", message) for name, is_asked in fields if is_asked]
    return errors


def _mixed_alternatives(spec: FineTuneJobSpec) -> list[FieldError]:
    """Roles that are of no one set."""
    task = TASKS[spec.task]
    sets = (task.columns, *task.alternatives)
    named = [role for role in spec.data.columns if role in task.roles and role not in task.optional_columns]
    if any(set(named) <= set(roles) for roles in sets):
        return []
    ways = ", or ".join(" and ".join(roles) for roles in sets)
    return [FieldError("spec.data.columns", f"{', '.join(named)} are not of one kind of example: name {ways}")]


def _called(spec: FineTuneJobSpec) -> str:
    """The task in words, with its kind of labels where it has several."""
    kind = spec.data.labels.kind
    return f"task {spec.task}" + (f" ({kind})" if kind in TASKS[spec.task].kinds else "")


def _label_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Kinds of labels that the task does not have, and strata that the labels cannot be."""
    task, kind, errors = TASKS[spec.task], spec.data.labels.kind, list[FieldError]()
    if kind != "single-label" and kind not in task.kinds:
        others = [name for name, entry in TASKS.items() if kind in entry.kinds]
        message = f"task {spec.task} has no {kind} labels; {' and '.join(others)} has"
        errors.append(FieldError("spec.data.labels.kind", message))
    stratum = spec.data.split.stratify_by
    if kind != "single-label" and stratum == spec.data.column("label"):
        message = f"{kind} labels are no strata: name another column, or none"
        errors.append(FieldError("spec.data.split.stratifyBy", message))
    return errors


def _batching_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    task, batching, errors = TASKS[spec.task], spec.data.batching, list[FieldError]()
    if batching.strategy not in task.strategies:
        message = f"task {spec.task} has {', '.join(task.strategies)}; found {batching.strategy}"
        errors.append(FieldError("spec.data.batching.strategy", message))
    if batching.tokens_per_batch is not None and not task.reads_tokens:
        errors.append(FieldError("spec.data.batching.tokensPerBatch", f"rows of task {spec.task} are not of tokens"))
    return errors
