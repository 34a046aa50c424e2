"""Questions about contexts: windows, answers found again in characters, and a model that learns to point."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from tests.unit.tiny_models import WORDS, save_pretrained
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.questions import NOWHERE
from thaw_trainer.errors import TrainerError
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles, Share, join_predictions, predict
from thaw_trainer.tasks.question_answering import KIND, QuestionAnswering
from thaw_trainer.uris import UriRoots

COLOURS = WORDS[:3]


def squad(count: int = 60, seed: int = 0, unanswerable: bool = False) -> dict[str, Any]:
    """Contexts with one colour each, which the question asks for; with `unanswerable`, every third has none."""
    random = np.random.default_rng(seed)
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    while len(paragraphs) < count:
        words = [str(word) for word in random.choice(WORDS[3:], size=random.integers(4, 24))]
        has_none = unanswerable and len(paragraphs) % 3 == 0
        answers = []
        if not has_none:
            place = int(random.integers(len(words)))
            words[place] = str(random.choice(COLOURS))
            answers = [{"text": words[place], "answer_start": len(" ".join([*words[:place], ""]))}]
        asked = {"id": str(len(paragraphs)), "question": "warm far old", "answers": answers, "is_impossible": has_none}
        paragraphs[" ".join(words)] = [asked]
    return {"data": [{"paragraphs": [{"context": text, "qas": asked} for text, asked in paragraphs.items()]}]}


class Asker:
    """A folder with questions and a tiny BERT, and trials of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write(squad())
        save_pretrained(root / "model")

    def write(self, content: Any, name: str = "train.json") -> None:
        (self.root / name).write_text(json.dumps(content), encoding="utf-8")

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        own = {
            "task": "question-answering",
            "model.uri": "file:model",
            "data.train.uri": "file:train.json",
            "data.split": {"validation": 0.2, "test": 0.1},
            "training.batchSize": 8,
            "training.epochs": 3,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> QuestionAnswering:
        spec = self.spec(changes)
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)


WINDOWS: dict[str, Any] = {"data.batching.maxLength": 16, "data.features": [{"windows": {"stride": 4}}]}
"""A question takes 4 tokens, three special ones more: 9 are left for the context."""


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    return Asker(tmp_path)


def test_a_tiny_bert_learns_to_point_at_colours(asker: Asker) -> None:
    told = asker.run({"training.epochs": 15})
    assert told.metrics[-1]["exactMatch"] > 0.9
    assert told.metrics[-1]["loss"] < told.metrics[0]["loss"] / 2
    assert told.metrics[-1]["f1"] == told.metrics[-1]["exactMatch"]


@pytest.mark.parametrize("changes", [{}, WINDOWS], ids=["whole", "windows"])
def test_a_label_is_the_answers_place_in_characters(changes: dict[str, Any], asker: Asker) -> None:
    task = asker.task(changes)
    paragraphs = squad()["data"][0]["paragraphs"]
    whole = 0
    for batch in task.batches("train", 0, Share()):
        for row in np.flatnonzero(batch.weight):
            context, (asked,) = (paragraphs[int(batch.id[row])][name] for name in ("context", "qas"))
            answer = asked["answers"][0]
            first, last = batch.offsets[row][batch.start[row], 0], batch.offsets[row][batch.end[row], 1]
            begins = {int(each) for each, _ in batch.offsets[row]}
            if answer["answer_start"] in begins:
                assert context[first:last] == answer["text"]
                whole += 1
            else:
                assert batch.start[row] == batch.end[row] == 0
                assert first == NOWHERE
    assert whole >= task.store.facts["counts"]["train"]


def test_windows_cover_their_context_and_overlap(asker: Asker) -> None:
    task = asker.task(WINDOWS)
    tokens: dict[int, list[set[int]]] = {}
    for batch in task.batches("train", 0, Share()):
        for row in np.flatnonzero(batch.weight):
            own = {int(begin) for begin, _ in batch.offsets[row] if begin != NOWHERE}
            tokens.setdefault(int(batch.id[row]), []).append(own)
    paragraphs = squad()["data"][0]["paragraphs"]
    assert any(len(windows) > 1 for windows in tokens.values())
    for number, windows in tokens.items():
        words = paragraphs[number]["context"].split()
        assert len(set().union(*windows)) == len(words)
        windows.sort(key=min)
        assert all(len(one & other) == 4 for one, other in pairwise(windows))
    assert task.store.facts["counts"]["windowsTrain"] == sum(map(len, tokens.values()))


def test_questions_without_an_answer_get_none(asker: Asker) -> None:
    asker.write(squad(90, unanswerable=True))
    told = asker.run({"training.epochs": 20})
    assert told.metrics[-1]["exactMatch"] > 0.9


def test_the_answer_is_the_best_span_of_all_windows(asker: Asker) -> None:
    task = asker.task(WINDOWS)
    model = task.build().eval()
    parts, best = [], dict[int, tuple[float, str]]()
    for batch in task.batches("validation", 0, Share()):
        with torch.inference_mode():
            outputs = task.outputs(model, batch, torch.device("cpu"))
            parts.append(predict(task, model, batch, torch.device("cpu")))
        for row in np.flatnonzero(batch.weight):
            context = task.questions["validation"][int(batch.id[row])][0]  # type: ignore[index]
            inside = [token for token, (begin, _) in enumerate(batch.offsets[row]) if begin != NOWHERE]
            spans = (
                (float(outputs["start"][row, first] + outputs["end"][row, last]), first, last)
                for first in inside
                for last in inside
                if last >= first
            )
            score, first, last = max(spans)
            text = context[batch.offsets[row][first, 0] : batch.offsets[row][last, 1]]
            number = int(batch.id[row])
            if number not in best or score > best[number][0]:
                best[number] = (score, text)
    told = dict(task.answers(join_predictions(parts)))
    assert told == {number: text for number, (_, text) in best.items()}
    assert len(told) == task.store.facts["counts"]["validation"]


def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(asker: Asker) -> None:
    changes = {"freezing": {"preset": "last-n", "depth": 1}} | WINDOWS
    spec = asker.spec(changes)
    plan = prepare_job(spec, KIND, asker.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(asker.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = asker.run(changes, "cached", prefix=site)
    computed = asker.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] > 0


def test_rows_as_datasets_has_them_are_read_alike(asker: Asker) -> None:
    rows = [
        {
            "question": asked["question"],
            "context": paragraph["context"],
            "answers": {
                "text": [each["text"] for each in asked["answers"]],
                "answer_start": [each["answer_start"] for each in asked["answers"]],
            },
        }
        for paragraph in squad()["data"][0]["paragraphs"]
        for asked in paragraph["qas"]
    ]
    (asker.root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tables = [asker.task({"data.train.uri": f"file:train.{each}"}).store.table("test") for each in ("json", "jsonl")]
    assert tables[0].equals(tables[1])


def test_questions_about_one_context_stay_together(asker: Asker) -> None:
    content = squad()
    for paragraph in content["data"][0]["paragraphs"]:
        (asked,) = paragraph["qas"]
        paragraph["qas"] = [asked, asked | {"question": "round"}, asked | {"question": "flat near"}]
    asker.write(content)
    task = asker.task()
    contexts = {split: {int(each) // 3 for each in task.rows[split].id} for split in ("train", "validation", "test")}
    assert not contexts["train"] & contexts["validation"]
    assert not contexts["train"] & contexts["test"]
    assert sum(map(len, contexts.values())) == 60


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"version": "1.1"}, "is no readable squad: KeyError"),
        ({"data": []}, "has no questions"),
        (
            {
                "data": [
                    {
                        "paragraphs": [
                            {
                                "context": "far red",
                                "qas": [{"question": "a", "answers": [{"text": "red", "answer_start": 3}]}],
                            }
                        ]
                    }
                ]
            },
            "row 0: the answer 'red' is not at character 3 of its context: ' re' is",
        ),
    ],
)
def test_a_file_that_is_no_squad_is_refused(content: Any, says: str, asker: Asker) -> None:
    asker.write(content)
    with pytest.raises(TrainerError, match=says):
        asker.task()


def test_a_question_that_leaves_no_room_is_refused(asker: Asker) -> None:
    content = squad(3)
    content["data"][0]["paragraphs"][0]["qas"][0]["question"] = " ".join(["old"] * 40)
    asker.write(content)
    asker.write(squad(6, seed=1), "held.json")
    asker.write(squad(6, seed=2), "test.json")
    with pytest.raises(TrainerError, match="the question of row 0 leaves 0 of 24 tokens") as refused:
        asker.task(
            {
                "data.validation": {"uri": "file:held.json"},
                "data.test": {"uri": "file:test.json"},
                "data.batching.maxLength": 24,
            }
        )
    assert refused.value.field == "spec.data.batching.maxLength"


def test_a_question_that_leaves_less_than_the_stride_is_refused_with_its_row(asker: Asker) -> None:
    content = squad()
    content["data"][0]["paragraphs"][7]["qas"][0]["question"] = " ".join(["old"] * 20)
    asker.write(content)
    with pytest.raises(TrainerError, match="the question of row 7 leaves 9 of 32 tokens"):
        asker.task({"data.batching.maxLength": 32, "data.split": {"validation": 0.1, "test": 0.1, "seed": 3}})


def test_spaces_about_an_answer_are_not_of_it(asker: Asker) -> None:
    plain, spaced = squad(), squad()
    for paragraph in spaced["data"][0]["paragraphs"]:
        (answer,) = paragraph["qas"][0]["answers"]
        if answer["answer_start"]:
            answer["text"], answer["answer_start"] = f" {answer['text']}", answer["answer_start"] - 1
        answer["text"] += paragraph["context"][answer["answer_start"] + len(answer["text"]) :][:1]
    asker.write(spaced, "spaced.json")
    asker.write(plain)
    tables = [asker.task({"data.train.uri": f"file:{name}.json"}).store.table("test") for name in ("train", "spaced")]
    assert tables[0].equals(tables[1])


def test_an_empty_answer_is_none(asker: Asker) -> None:
    content = squad()
    for paragraph in content["data"][0]["paragraphs"][::2]:
        paragraph["qas"][0]["answers"] = [{"text": "", "answer_start": 0}]
    asker.write(content)
    assert asker.task().store.facts["unanswerable"]
