"""Speech recognition: the text of each sound, spelled by CTC or written token after token, as the model does it."""

from pathlib import Path

from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.models import pretrained, speech_writer
from thaw_trainer.tasks.protocol import JobFiles, Task, TaskKind
from thaw_trainer.tasks.spelled_speech import SpelledSpeechKind
from thaw_trainer.tasks.written_speech import WrittenSpeechKind
from thaw_trainer.uris import resolve_model


class SpeechRecognitionKind:
    """See TaskKind. The model's configuration decides which of the two it is; a store tells what it was made for."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        config = pretrained.load_config(resolve_model(spec.model.uri, pretrained.URI_FIELD, files.roots))
        return _kind(speech_writer.writes(config)).prepare(spec, files)

    def open(self, spec: FineTuneJobSpec, store: Path) -> Task:
        """See TaskKind."""
        return _kind("writes" in PreparedStore(store).facts).open(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        return _kind("writes" in PreparedStore(store).facts).empty_model(spec, store)


def _kind(writes: bool) -> TaskKind:
    return WrittenSpeechKind() if writes else SpelledSpeechKind()


KIND = SpeechRecognitionKind()
