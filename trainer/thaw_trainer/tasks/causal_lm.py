"""Causal language models: the next token of texts, of what an assistant says, or of completions, with any
AutoModelForCausalLM."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.causal_rows import prepare_store
from thaw_trainer.data.padding import padded
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.models import causal_lm, pretrained
from thaw_trainer.models.counted_only import CountedOnly
from thaw_trainer.tasks.continuations import continuations
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.token_losses import token_losses


@dataclass(frozen=True)
class CausalBatch:
    """`input_ids` [rows, width], padded on the right; `position_ids` of the same shape where rows are packed. The n
    tokens that count: each is predicted in a row (`rows` [n]) and a place in it (`places` [n]), as `targets` [n]. `id`
    and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64] | None
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class CausalRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split = split
        table = store.table(split)
        self.tokens, self.offsets = ragged(table["input_ids"])
        self.counted, _ = ragged(table["counted"])
        self.text_lengths, self.text_offsets = ragged(table["lengths"])
        self.id = table["id"].to_numpy()
        self.is_packed = bool(store.facts["packed"]) and split == "train"

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def collate(self, plan: BatchPlan, pad_token: int) -> CausalBatch:
        """The batch that a plan describes."""
        input_ids = padded(self.tokens, self.offsets, plan, pad_token)
        counted = padded(self.counted, self.offsets, plan, 0)
        counted[plan.filled :] = 0
        rows, columns = counted.nonzero()
        return CausalBatch(
            split=self.split,
            plan=plan,
            input_ids=input_ids,
            position_ids=self._positions(plan) if self.is_packed else None,
            rows=rows,
            places=columns - 1,
            targets=input_ids[rows, columns],
            id=self.id[plan.rows],
            weight=(np.arange(len(plan.rows)) < plan.filled).astype(np.float32),
        )

    def _positions(self, plan: BatchPlan) -> NDArray[np.int64]:
        """They begin anew with each text, and with the padding: models tell texts apart by that."""
        positions = np.empty((len(plan.rows), plan.width), dtype=np.int64)
        for place, row in enumerate(plan.rows):
            lengths = self.text_lengths[self.text_offsets[row] : self.text_offsets[row + 1]]
            every = [*lengths.tolist(), plan.width - int(lengths.sum())]
            positions[place] = np.concatenate([np.arange(length) for length in every])
        return positions


class CausalLm(RowTask[CausalBatch]):
    """One trial's view of the rows and the model."""

    evaluation_tokens = 2048  # the logits of so many are held at once

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self._counted_only = CountedOnly()

    @cached_property
    def rows(self) -> dict[str, CausalRows]:
        """The splits' rows."""
        return {split: CausalRows(self.store, split) for split in ("train", "validation", "test")}

    def build(self) -> nn.Module:
        """See Task."""
        config = causal_lm.load_config(self.model_folder, self.spec.model)
        model = causal_lm.build(self.model_folder, config, self.spec.model, packed=self.store.facts["packed"])
        self._counted_only.attach(model)
        return model

    def row_source(self) -> "CausalLm":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens."""
        return self.rows[split].lengths

    def classes(self, split: str) -> NDArray[np.int64]:
        """See RowTask: packed rows are all of one length, those that are measured are not."""
        return self.widths if split == "train" else np.asarray(self.store.facts["measuredWidths"][split])

    def collate(self, split: str, plan: BatchPlan) -> CausalBatch:
        """See RowSource."""
        return self.rows[split].collate(plan, self.store.facts["padToken"] or 0)

    def step(self, model: nn.Module, batch: CausalBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over the tokens that count."""
        logits, targets = self._logits(model, batch, device), torch.from_numpy(batch.targets).to(device)
        losses = token_losses(logits, targets, self.spec.training.label_smoothing)
        return losses.sum(), float(len(batch.targets))

    def outputs(self, model: nn.Module, batch: CausalBatch, device: torch.device) -> Outputs:
        """See Task: of each row the summed loss and how many tokens are the likeliest ones, both [rows]."""
        logits, targets = self._logits(model, batch, device), torch.from_numpy(batch.targets).to(device)
        losses = token_losses(logits, targets).double()
        hits = (logits.argmax(dim=-1) == targets).double()
        rows, nothing = torch.from_numpy(batch.rows).to(device), torch.zeros(len(batch.id), device=device).double()
        return {"loss": nothing.index_add(0, rows, losses), "hits": nothing.index_add(0, rows, hits)}

    def predictions(self, batch: CausalBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, tokens (how many count), loss (summed over them) and hits."""
        counted = batch.weight > 0
        tokens = np.bincount(batch.rows, minlength=len(batch.id))
        columns = {name: outputs[name].cpu().numpy()[counted] for name in ("loss", "hits")}
        return {"id": batch.id[counted], "tokens": tokens[counted], **columns}

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task: loss is the mean over all tokens that count, so neither of rows nor of batches."""
        tokens = float(predictions["tokens"].sum())
        loss = float(predictions["loss"].sum()) / tokens
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(loss))
        return {"loss": loss, "perplexity": perplexity, "accuracy": float(predictions["hits"].sum()) / tokens}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task."""
        return {"tokens": int(predictions["tokens"].sum())}

    def samples(self, model: nn.Module, device: torch.device) -> list[dict[str, str]]:
        """See ShowsSamples: beginnings of test rows, how the model goes on, and how the row does."""
        tokenizer, test = pretrained.load_tokenizer(self.model_folder), self.rows["test"]
        texts = [slice(test.offsets[row], test.offsets[row + 1]) for row in range(len(test.id))]
        return continuations(model, tokenizer, [(test.tokens[each], test.counted[each]) for each in texts], device)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout."""
        model.save_pretrained(folder)  # type: ignore[operator]
        pretrained.load_tokenizer(self.model_folder).save_pretrained(folder)

    def _logits(self, model: nn.Module, batch: CausalBatch, device: torch.device) -> torch.Tensor:
        """Logits [n, vocabulary] of the predictions that count. No mask: a causal model does not look to its right,
        where the padding is, and positions that begin anew are where one text of a packed row ends."""
        inputs = {"input_ids": torch.from_numpy(batch.input_ids).to(device)}
        if batch.position_ids is not None:
            inputs["position_ids"] = torch.from_numpy(batch.position_ids).to(device)
        return self._counted_only.logits(
            lambda: model(**inputs, use_cache=False),
            torch.from_numpy(batch.rows).to(device),
            torch.from_numpy(batch.places).to(device),
        )


class CausalLmKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_store(spec, files.roots, files.stores, files.kept).folder

    def open(self, spec: FineTuneJobSpec, store: Path) -> CausalLm:
        """See TaskKind."""
        return CausalLm(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = CausalLm(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return causal_lm.build_empty(causal_lm.load_config(task.model_folder, spec.model))


KIND = CausalLmKind()
