"""What tasks share whose model reads one text and writes another, by beam search."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.cluster import GenerationSpec
from thaw_api.job import FineTuneJobSpec
from thaw_api.steps import Instruction, Languages, last_step
from thaw_api.tasks import TASKS
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.examples import Examples
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.data.text_pairs import make_pairs, pair_reader
from thaw_trainer.models import pretrained, text_writer
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.token_files import prepare_tokens
from thaw_trainer.tasks.writing import TargetBatch, TargetRows, WritingTask

_SAMPLES = 3


@dataclass(frozen=True)
class PairBatch(TargetBatch):
    """Sources with their targets: `input_ids` and `attention_mask` [rows, width]."""

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]


class PairRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        table = store.table(split)
        self.sources, self.source_offsets = ragged(table["input_ids"])
        self.pad_token = int(store.facts["padToken"])
        self.targets = TargetRows(table, split, "target", self.pad_token)
        self.target_widths = dict(zip(store.facts["widths"], store.facts["targetWidths"][split], strict=True))

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each source."""
        return np.diff(self.source_offsets)

    def collate(self, plan: BatchPlan, empty: Any) -> PairBatch:
        """The batch that a plan describes.

        Args:
            empty: the module on the meta device, which knows what its decoder reads.
        """
        shift = partial(text_writer.decoder_inputs, empty)
        return PairBatch(
            **vars(self.targets.collate(plan, self.target_widths[plan.width], shift)),
            input_ids=padded(self.sources, self.source_offsets, plan, self.pad_token),
            attention_mask=filled_places(self.lengths, plan),
        )


class TextPairTask(WritingTask[PairBatch]):
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self._config = text_writer.load_config(self.model_folder, spec.model)
        self._empty = text_writer.build_empty(self._config)

    @cached_property
    def rows(self) -> dict[str, PairRows]:
        """The splits' rows."""
        return {split: PairRows(self.store, split) for split in ("train", "validation", "test")}

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, set to the job's languages."""
        return text_writer.load_tokenizer(self.model_folder, _languages(self.spec))

    def build(self) -> nn.Module:
        """See Task."""
        model = text_writer.build(self.model_folder, self._config, self.spec.model)
        generation, languages = self.spec.evaluation.generation or GenerationSpec(), _languages(self.spec)
        target = torch.tensor([self.tokenizer(text_target="a")["input_ids"]])
        begins = int(text_writer.decoder_inputs(self._empty, target)[0, 0])
        language = text_writer.language_token(self.tokenizer, languages.target) if languages else None
        # Some families put the language behind a target: then the decoder begins with it.
        first = language if target[0, 0] == language else None
        text_writer.set_generation(model, generation, self.store.facts["longestTarget"], begins, first)
        self.counted_only.attach(model)
        return model

    def row_source(self) -> "TextPairTask":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens of the sources."""
        return self.rows[split].lengths

    def collate(self, split: str, plan: BatchPlan) -> PairBatch:
        """See RowSource."""
        return self.rows[split].collate(plan, self._empty)

    def samples(self, model: nn.Module, device: torch.device) -> list[dict[str, str]]:
        """See ShowsSamples: the first test rows."""
        samples = []
        for row, length in enumerate(self.lengths("test")[:_SAMPLES]):
            width = int(self.widths[np.searchsorted(self.widths, length)])
            batch = self.collate("test", BatchPlan(np.asarray([row]), 1, width))
            with torch.inference_mode():
                (text,) = self.decoded(self.generate(model, batch, device))
            (prompt,) = self.decoded(torch.from_numpy(batch.input_ids))
            samples.append({"prompt": prompt, "model": text, "text": batch.texts[0]})
        return samples

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout; `generate` then writes as it was measured."""
        model.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)

    def decoded(self, tokens: torch.Tensor) -> list[str]:
        """See WritingTask."""
        texts: list[str] = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def generate(self, model: Any, batch: PairBatch, device: torch.device) -> torch.Tensor:
        """See WritingTask."""
        filled = batch.plan.filled
        found: torch.Tensor = model.generate(
            **{name: each[:filled] for name, each in self.inputs(batch, device).items()}
        )
        return found

    def inputs(self, batch: PairBatch, device: torch.device) -> dict[str, torch.Tensor]:
        """See WritingTask."""
        return {name: torch.from_numpy(getattr(batch, name)).to(device) for name in ("input_ids", "attention_mask")}


class TextPairKind:
    """See TaskKind."""

    task: ClassVar[type[TextPairTask]]
    roles: ClassVar[tuple[str, str]]
    """Of the text that is read, and of the one that is written."""

    @staticmethod
    def baseline(splits: dict[str, Examples]) -> dict[str, Any]:
        """What a model must beat on the test rows: metric, test, description."""
        raise NotImplementedError

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        target_limit = spec.data.batching.max_target_length or spec.data.batching.max_length
        instruction: Instruction | None = last_step(spec.data.features, TASKS[spec.task].features, "instruction")
        before = instruction.text if instruction else ""

        def make(paths: dict[str, Path], tokenizer: Any, limit: int) -> Any:
            reader, limits = pair_reader(*self.roles), (limit, min(target_limit, limit))
            return make_pairs(spec.data, paths, reader, tokenizer, limits, before, self.baseline)

        load = partial(text_writer.load_tokenizer, languages=_languages(spec))
        return prepare_tokens(spec, files, load, lambda folder: _empty(folder, spec), make)

    def open(self, spec: FineTuneJobSpec, store: Path) -> TextPairTask:
        """See TaskKind."""
        return self.task(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        folder = Path(PreparedStore(store).facts["modelFolder"])
        if spec.model.init == "pretrained":
            pretrained.check_weights(folder)
        return _empty(folder, spec)


def _empty(folder: Path, spec: FineTuneJobSpec) -> nn.Module:
    return text_writer.build_empty(text_writer.load_config(folder, spec.model))


def _languages(spec: FineTuneJobSpec) -> Languages | None:
    """The pair of languages, where the model has many."""
    found: Languages | None = last_step(spec.data.features, TASKS[spec.task].features, "languages")
    return found
