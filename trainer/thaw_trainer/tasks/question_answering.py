"""Extractive question answering: where in a context the answer is, with any AutoModelForQuestionAnswering."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.questions import NOWHERE, make_question_store
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.models import pretrained, question_answerer
from thaw_trainer.tasks.answer_metrics import answer_metrics
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.token_files import prepare_tokens

_LONGEST_ANSWER = 30
"""Tokens, as in BERT's own evaluation of SQuAD; more where an answer of train has more."""
_ENDS = 20
"""The likeliest so many starts are tried with the likeliest so many ends."""


@dataclass(frozen=True)
class WindowBatch:
    """`input_ids`, `attention_mask` and `segments` (None for a model without) [rows, width]; `offsets` [rows, width, 2]
    of characters; `start`, `end`, `special` (tokens), `id` (of the question) and `weight` (1 counts, 0 fills up), each
    [rows]."""

    split: str
    plan: BatchPlan
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    segments: NDArray[np.int64] | None
    offsets: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    special: NDArray[np.int64]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class WindowRows:
    """The windows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split, self.facts = split, store.facts
        table = store.table(split)
        self.input_ids, self.segments, self.offsets = (
            ragged(table[each]) for each in ("input_ids", "segments", "offsets")
        )
        self.start, self.end, self.special, self.id = (
            table[name].to_numpy() for name in ("start", "end", "special", "id")
        )

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each window."""
        return np.diff(self.input_ids[1])

    def collate(self, plan: BatchPlan) -> WindowBatch:
        """The batch that a plan describes."""
        left = self.facts["padLeft"]
        moved = plan.width - self.lengths[plan.rows] if left else np.zeros(len(plan.rows), dtype=np.int64)
        double = BatchPlan(plan.rows, plan.filled, 2 * plan.width)
        return WindowBatch(
            self.split,
            plan,
            padded(*self.input_ids, plan, self.facts["padToken"] or 0, left),
            filled_places(self.lengths, plan, left),
            padded(*self.segments, plan, 0, left) if len(self.segments[0]) else None,
            padded(*self.offsets, double, NOWHERE, left).reshape(len(plan.rows), plan.width, 2),
            self.start[plan.rows] + moved,
            self.end[plan.rows] + moved,
            self.special[plan.rows] + moved,
            self.id[plan.rows],
            (np.arange(len(plan.rows)) < plan.filled).astype(np.float32),
        )


class QuestionAnswering(RowTask[WindowBatch]):
    """One trial's view of the windows and the model."""

    @cached_property
    def rows(self) -> dict[str, WindowRows]:
        """The splits' windows."""
        return {split: WindowRows(self.store, split) for split in ("train", "validation", "test")}

    @cached_property
    def questions(self) -> dict[int, dict[str, tuple[str, list[str]]]]:
        """By split and question's id: its context and its right answers."""
        found: dict[Any, Any] = {}
        for split in ("validation", "test"):
            table = self.store.table(f"{split}-questions").to_pydict()
            rows = zip(table["id"], table["context"], table["answers"], strict=True)
            found[split] = {number: (context, answers) for number, context, answers in rows}
        return found

    def config(self) -> Any:
        """The model's configuration."""
        return question_answerer.load_config(self.model_folder, self.spec.model, self.store.facts["padToken"])

    def build(self) -> nn.Module:
        """See Task."""
        return question_answerer.build(self.model_folder, self.config(), self.spec.model)

    def row_source(self) -> "QuestionAnswering":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens."""
        return self.rows[split].lengths

    def collate(self, split: str, plan: BatchPlan) -> WindowBatch:
        """See RowSource."""
        return self.rows[split].collate(plan)

    def step(self, model: nn.Module, batch: WindowBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: the mean of both ends' cross-entropy over tokens, for each window."""
        outputs = self.outputs(model, batch, device)
        losses = self._losses(outputs, batch)
        return (losses * torch.from_numpy(batch.weight).to(device)).sum(), float(batch.weight.sum())

    def outputs(self, model: nn.Module, batch: WindowBatch, device: torch.device) -> Outputs:
        """See Task: logits of an answer's start and end [rows, width]."""
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if batch.segments is not None:
            inputs["token_type_ids"] = batch.segments
        found = model(**{name: torch.from_numpy(each).to(device) for name, each in inputs.items()})
        return {"start": found.start_logits.float(), "end": found.end_logits.float()}

    def predictions(self, batch: WindowBatch, outputs: Outputs) -> Predictions:
        """See Task: for each window id (of the question), split, score of its best span, first and last character of
        it, score of no answer, and loss."""
        losses = self._losses({name: each.cpu() for name, each in outputs.items()}, batch).numpy()
        start, end = (outputs[name].cpu().numpy() for name in ("start", "end"))
        rows = np.flatnonzero(batch.weight > 0)
        longest = max(_LONGEST_ANSWER, self.store.facts["longestAnswer"])
        spans = [best_span(start[row], end[row], batch.offsets[row], longest) for row in rows]
        return {
            "id": batch.id[rows],
            "split": np.full(len(rows), batch.split),
            "score": np.asarray([score for score, _, _ in spans]),
            "first": np.asarray([first for _, first, _ in spans]),
            "last": np.asarray([last for _, _, last in spans]),
            "none": start[rows, batch.special[rows]] + end[rows, batch.special[rows]],
            "loss": losses[rows],
        }

    def answers(self, predictions: Predictions) -> list[tuple[int, str]]:
        """The answer to each question: the best span of all its windows, or none where every window would rather give
        none and the training data has such questions."""
        best: dict[int, int] = {}
        none: dict[int, float] = {}
        for row, number in enumerate(predictions["id"].tolist()):
            none[number] = min(none.get(number, np.inf), float(predictions["none"][row]))
            if number not in best or predictions["score"][row] > predictions["score"][best[number]]:
                best[number] = row
        told = []
        for number, row in sorted(best.items()):
            context = self.questions[str(predictions["split"][row])][number][0]  # type: ignore[index]
            is_none = self.store.facts["unanswerable"] and none[number] > predictions["score"][row]
            span = slice(int(predictions["first"][row]), int(predictions["last"][row]))
            told.append((number, "" if is_none else context[span]))
        return told

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        told = self.answers(predictions)
        right = [self.questions[str(predictions["split"][0])][number][1] for number, _ in told]  # type: ignore[index]
        loss = float(predictions["loss"].mean(dtype=np.float64))
        return answer_metrics([text for _, text in told], right) | {"loss": loss}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: nothing yet."""
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout."""
        model.save_pretrained(folder)  # type: ignore[operator]
        pretrained.load_tokenizer(self.model_folder).save_pretrained(folder)

    @staticmethod
    def _losses(outputs: Outputs, batch: WindowBatch) -> torch.Tensor:
        device = outputs["start"].device
        ends = ((outputs["start"], batch.start), (outputs["end"], batch.end))
        return sum(F.cross_entropy(each, torch.from_numpy(at).to(device), reduction="none") for each, at in ends) / 2  # type: ignore[return-value]


def best_span(
    start: NDArray[np.float32], end: NDArray[np.float32], offsets: NDArray[np.int64], longest: int = _LONGEST_ANSWER
) -> tuple[float, int, int]:
    """Score, first and last character of the best span of a window's context; an empty one where there is none.

    Args:
        start, end: logits [width].
        offsets: [width, 2], NOWHERE outside of the context.
        longest: tokens that a span may have.
    """
    inside = np.flatnonzero(offsets[:, 0] != NOWHERE)
    starts, ends = (inside[np.argsort(-each[inside], kind="stable")[:_ENDS]] for each in (start, end))
    found = (-np.inf, 0, 0)
    for first in starts:
        for last in ends:
            score = float(start[first]) + float(end[last])
            if first <= last < first + longest and score > found[0]:
                found = (score, int(offsets[first, 0]), int(offsets[last, 1]))
    return found


class QuestionAnsweringKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_tokens(
            spec,
            files,
            pretrained.load_tokenizer,
            lambda folder: question_answerer.build_empty(question_answerer.load_config(folder, spec.model, None)),
            lambda paths, tokenizer, limit: make_question_store(spec.data, paths, tokenizer, limit),
        )

    def open(self, spec: FineTuneJobSpec, store: Path) -> QuestionAnswering:
        """See TaskKind."""
        return QuestionAnswering(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = QuestionAnswering(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return question_answerer.build_empty(task.config())


KIND = QuestionAnsweringKind()
