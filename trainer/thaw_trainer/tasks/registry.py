"""Tasks by name. A task is imported when it is asked for, since each brings its own heavy libraries."""

from importlib import import_module

from thaw_trainer.tasks.protocol import TaskKind

_MODULES = {
    "text-classification": "thaw_trainer.tasks.text_classification",
    "token-classification": "thaw_trainer.tasks.token_classification",
    "question-answering": "thaw_trainer.tasks.question_answering",
    "translation": "thaw_trainer.tasks.translation",
    "summarization": "thaw_trainer.tasks.summarization",
    "causal-lm": "thaw_trainer.tasks.causal_lm",
    "image-classification": "thaw_trainer.tasks.image_classification",
    "object-detection": "thaw_trainer.tasks.object_detection",
    "face-recognition": "thaw_trainer.tasks.face_recognition",
    "reinforcement-learning": "thaw_trainer.tasks.reinforcement_learning",
    "audio-classification": "thaw_trainer.tasks.audio_classification",
    "speech-recognition": "thaw_trainer.tasks.speech_recognition",
}


def find_task(name: str) -> TaskKind:
    """The task of a name that `thaw_api.tasks.TASKS` lists."""
    kind: TaskKind = import_module(_MODULES[name]).KIND
    return kind
