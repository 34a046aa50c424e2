"""The module that a trial begins with."""

from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.models.adapter import with_adapter
from thaw_trainer.tasks.protocol import Task


def pristine_model(task: Task, spec: FineTuneJobSpec) -> nn.Module:
    """A new module from the pretrained files, with the spec's adapter if it has one.

    Head and adapter draw from streams of their own: an adapter's numbers do not depend on what the head's size is.

    Raises:
        TrainerError: what building the module raises, or SelectorMatchesNothing for the adapter's targets.
    """
    seed_stream(spec.training.seed, "head")
    model = task.build()
    if spec.model.adapter is None:
        return model
    seed_stream(spec.training.seed, "adapter")
    return with_adapter(model, spec.model)
