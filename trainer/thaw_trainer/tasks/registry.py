"""Tasks by name. A task is imported when it is asked for, since each brings its own heavy libraries."""

from importlib import import_module

from thaw_trainer.tasks.protocol import TaskKind

_MODULES = {"text-classification": "thaw_trainer.tasks.text_classification"}


def find_task(name: str) -> TaskKind:
    """The task of a name that `thaw_api.tasks.TASKS` lists."""
    kind: TaskKind = import_module(_MODULES[name]).KIND
    return kind
