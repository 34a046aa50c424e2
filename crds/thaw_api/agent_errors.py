"""What a spec says of an agent and its environment, and whether its numbers go together."""

from thaw_api.field_error import FieldError
from thaw_api.job import FineTuneJobSpec
from thaw_api.training import PpoSpec


def agent_errors(spec: FineTuneJobSpec, acts: bool) -> list[FieldError]:
    """Errors of an agent's fields.

    Args:
        acts: whether the spec's task has an agent.
    """
    sources = {name: getattr(spec.data, name) for name in ("train", "validation", "test")}
    errors = [
        FieldError(
            f"spec.data.{name}.uri",
            f"task {spec.task} learns {'in an environment, such as gymnasium://CartPole-v1' if acts else 'from rows'}",
        )
        for name, source in sources.items()
        if source is not None and source.is_environment != acts
    ]
    if acts:
        return errors + _what_agents_lack(spec) + _division_errors(spec)
    given = (
        ("spec.training.ppo", spec.training.ppo),
        ("spec.evaluation.episodes", spec.evaluation.episodes),
        ("spec.model.head.reset", spec.model.head.reset),
    )
    message = f"task {spec.task} has no agent; reinforcement-learning has"
    return errors + [FieldError(path, message) for path, value in given if value is not None]


def _what_agents_lack(spec: FineTuneJobSpec) -> list[FieldError]:
    training = spec.training
    refused = (
        (training.precision != "float32", "training.precision", "an agent acts and learns in float32"),
        (training.sharding != "none", "training.sharding", "an agent's workers act by themselves, each with all of it"),
        (bool(spec.evaluation.slices), "evaluation.slices", "an agent has episodes, no rows"),
        (spec.model.head.dropout is not None, "model.head.dropout", "a policy has no dropout"),
        (
            bool(training.ppo and training.ppo.pretrained_weight) and spec.model.init == "random",
            "training.ppo.pretrainedWeight",
            "with model.init: random there is no pretrained policy to stay near",
        ),
    )
    return [FieldError(f"spec.{path}", message) for is_asked, path, message in refused if is_asked]


def _division_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Each worker has as many environments as every other, and each environment as many transitions in every step: then
    what is trained on does not depend on the number of workers."""
    ppo, training = spec.training.ppo or PpoSpec(), spec.training
    parts = spec.cluster.workers_per_trial * training.gradient_accumulation
    if ppo.environments % parts:
        message = f"{ppo.environments} are not divided evenly by {parts} (workersPerTrial times gradientAccumulation)"
        return [FieldError("spec.training.ppo.environments", message)]
    if training.batch_size % ppo.environments:
        message = f"takes as many transitions of each of {ppo.environments} environments; found {training.batch_size}"
        return [FieldError("spec.training.batchSize", message)]
    each = training.batch_size // ppo.environments
    if ppo.rollout_steps % each:
        message = f"{ppo.rollout_steps} are not divided evenly by {each}, which batchSize takes of each environment"
        return [FieldError("spec.training.ppo.rolloutSteps", message)]
    return []
