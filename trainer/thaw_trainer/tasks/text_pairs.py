"""What tasks share whose model reads one text and writes another: batches, loss, and texts written by beam search."""

from abc import abstractmethod
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
from thaw_api.schedule_errors import choosing_metrics
from thaw_api.steps import Instruction, Languages, last_step
from thaw_api.tasks import TASKS
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.examples import Examples
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.data.text_pairs import make_pairs, pair_reader
from thaw_trainer.models import pretrained, text_writer
from thaw_trainer.models.counted_only import CountedOnly
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.token_files import prepare_tokens
from thaw_trainer.tasks.token_losses import token_losses

_SAMPLES = 3


@dataclass(frozen=True)
class PairBatch:
    """`input_ids` and `attention_mask` [rows, width]; `decoder_input_ids` [rows, target width], padded on the right.

    The n tokens that count: each is predicted in a row (`rows` [n]) and a place in it (`places` [n]), as `targets` [n].
    `texts`: what should be written, of each row. `id` and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    decoder_input_ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    texts: list[str]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class PairRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split = split
        table = store.table(split)
        self.sources, self.source_offsets = ragged(table["input_ids"])
        self.targets, self.target_offsets = ragged(table["labels"])
        self.texts = table["target"]
        self.id = table["id"].to_numpy()
        self.pad_token = int(store.facts["padToken"])
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
        target_plan = BatchPlan(plan.rows, plan.filled, self.target_widths[plan.width])
        targets = padded(self.targets, self.target_offsets, target_plan, self.pad_token)
        counted = filled_places(np.diff(self.target_offsets), target_plan)
        counted[plan.filled :] = 0
        rows, places = counted.nonzero()
        return PairBatch(
            split=self.split,
            plan=plan,
            input_ids=padded(self.sources, self.source_offsets, plan, self.pad_token),
            attention_mask=filled_places(self.lengths, plan),
            decoder_input_ids=text_writer.decoder_inputs(empty, torch.from_numpy(targets)).numpy(),
            rows=rows,
            places=places,
            targets=targets[rows, places],
            texts=[self.texts[int(row)].as_py() for row in plan.rows],
            id=self.id[plan.rows],
            weight=(np.arange(len(plan.rows)) < plan.filled).astype(np.float32),
        )


class TextPairTask(RowTask[PairBatch]):
    """One trial's view of the rows and the model."""

    evaluation_tokens = 2048  # the logits of about so many are held at once

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self._counted_only = CountedOnly()
        self._config = text_writer.load_config(self.model_folder, spec.model)
        self._empty = text_writer.build_empty(self._config)
        text_metrics = TASKS[spec.task].text_metrics
        self._always_writes = any(name in text_metrics for _, name in choosing_metrics(spec))

    @staticmethod
    @abstractmethod
    def text_metrics(targets: list[str], written: list[str]) -> dict[str, float]:
        """What is measured of the texts."""

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
        self._counted_only.attach(model)
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

    def step(self, model: nn.Module, batch: PairBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over the tokens of the targets."""
        logits, targets = self._logits(model, batch, device), torch.from_numpy(batch.targets).to(device)
        losses = token_losses(logits, targets, self.spec.training.label_smoothing)
        return losses.sum(), float(len(batch.targets))

    def outputs(self, model: nn.Module, batch: PairBatch, device: torch.device) -> Outputs:
        """See Task: the loss of each row, summed over its target's tokens [rows]."""
        logits, targets = self._logits(model, batch, device), torch.from_numpy(batch.targets).to(device)
        losses = token_losses(logits, targets).double()
        rows, nothing = torch.from_numpy(batch.rows).to(device), torch.zeros(len(batch.id), device=device).double()
        return {"loss": nothing.index_add(0, rows, losses)}

    def write(self, model: nn.Module, batch: PairBatch, device: torch.device, full: bool) -> Outputs:
        """See WritesText: `written`, tokens of the rows that count [rows, longest]."""
        if not (full or self._always_writes):
            return {}
        return {"written": self._generate(model, batch, device)}

    def predictions(self, batch: PairBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, tokens (of the target) and loss (summed over them); target and written, both texts,
        where they were written."""
        counted = batch.weight > 0
        tokens = np.bincount(batch.rows, minlength=len(batch.id))
        columns = {"id": batch.id, "tokens": tokens, "loss": outputs["loss"].cpu().numpy()}
        found = {name: column[counted] for name, column in columns.items()}
        if "written" in outputs:
            found["target"] = np.asarray(batch.texts, dtype=object)[counted]
            found["written"] = np.empty(len(found["id"]), dtype=object)
            found["written"][:] = self._decoded(outputs["written"])
        return found

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task: those of texts where they were written."""
        loss = float(predictions["loss"].sum()) / int(predictions["tokens"].sum())
        if "written" not in predictions:
            return {"loss": loss}
        return {"loss": loss} | self.text_metrics(list(predictions["target"]), list(predictions["written"]))

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task."""
        return {"tokens": int(predictions["tokens"].sum())}

    def samples(self, model: nn.Module, device: torch.device) -> list[dict[str, str]]:
        """See ShowsSamples: the first test rows."""
        samples = []
        for row, length in enumerate(self.lengths("test")[:_SAMPLES]):
            width = int(self.widths[np.searchsorted(self.widths, length)])
            batch = self.collate("test", BatchPlan(np.asarray([row]), 1, width))
            with torch.inference_mode():
                (text,) = self._decoded(self._generate(model, batch, device))
            (prompt,) = self._decoded(torch.from_numpy(batch.input_ids))
            samples.append({"prompt": prompt, "model": text, "text": batch.texts[0]})
        return samples

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout; `generate` then writes as it was measured."""
        model.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)

    def _generate(self, model: Any, batch: PairBatch, device: torch.device) -> torch.Tensor:
        filled = slice(0, batch.plan.filled)
        found: torch.Tensor = model.generate(
            input_ids=torch.from_numpy(batch.input_ids[filled]).to(device),
            attention_mask=torch.from_numpy(batch.attention_mask[filled]).to(device),
        )
        return found

    def _decoded(self, tokens: torch.Tensor) -> list[str]:
        texts: list[str] = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _logits(self, model: nn.Module, batch: PairBatch, device: torch.device) -> torch.Tensor:
        """Logits [n, vocabulary] of the tokens that count. The decoder is causal and padded on its right, so it needs
        no mask."""
        names = ("input_ids", "attention_mask", "decoder_input_ids")
        inputs = {name: torch.from_numpy(getattr(batch, name)).to(device) for name in names}
        return self._counted_only.logits(
            lambda: model(**inputs, use_cache=False),
            torch.from_numpy(batch.rows).to(device),
            torch.from_numpy(batch.places).to(device),
        )


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
