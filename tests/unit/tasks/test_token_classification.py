"""Tags for words: what tokenization does to them, what is counted, and a tagger that learns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from tests.unit.tiny_models import WORDS, save_pretrained
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.data.tagged_words import CUT_OFF, NO_TAG
from thaw_trainer.errors import TrainerError
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles, Share, plain_columns, predict
from thaw_trainer.tasks.tag_metrics import tag_metrics
from thaw_trainer.tasks.token_classification import KIND, TokenClassification
from thaw_trainer.uris import UriRoots

TAGS = {"red": "B-PER", "green": "I-PER", "blue": "B-LOC"}
LABELS = ["B-LOC", "B-PER", "I-PER", "O"]


def tagged_sentences(count: int = 60, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Different sentences of 3 to 14 words, in which each colour has a tag of its own."""
    random = np.random.default_rng(seed)
    rows: dict[tuple[str, ...], list[str]] = {}
    while len(rows) < count:
        words = [str(word) for word in random.choice(WORDS, size=random.integers(3, 15))]
        rows[tuple(words)] = [TAGS.get(word, "O") for word in words]
    return [(list(words), tags) for words, tags in rows.items()]


def write_jsonl(file: Path, rows: Sequence[tuple[list[str], list[str]]]) -> None:
    file.write_text("".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in rows), "utf-8")


def write_conll(file: Path, rows: Sequence[tuple[list[str], list[str]]]) -> None:
    sentences = ("\n".join(f"{word} X {tag}" for word, tag in zip(*row, strict=True)) for row in rows)
    file.write_text("-DOCSTART- -X- O\n\n" + "\n\n".join(sentences) + "\n", encoding="utf-8")


class Tagger:
    """A folder with sentences and a tiny BERT, and trials of it."""

    def __init__(self, root: Path, **model: Any) -> None:
        self.root = root
        write_jsonl(root / "train.jsonl", tagged_sentences())
        save_pretrained(root / "model", **model)

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        own = {
            "task": "token-classification",
            "model.uri": "file:model",
            "data.train.uri": "file:train.jsonl",
            "data.split": {"validation": 0.2, "test": 0.1},
            "training.batchSize": 8,
            "training.epochs": 6,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> TokenClassification:
        spec = self.spec(changes)
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)


@pytest.fixture
def tagger(tmp_path: Path) -> Tagger:
    return Tagger(tmp_path)


def test_a_tiny_bert_learns_to_tag_colours(tagger: Tagger) -> None:
    told = tagger.run({"training.epochs": 8})
    assert told.metrics[-1]["f1"] > 0.9 > told.metrics[0]["f1"]


def test_conll_and_jsonl_are_read_alike(tagger: Tagger) -> None:
    write_conll(tagger.root / "train.conll", tagged_sentences())
    tables = [
        PreparedStore(KIND.prepare(tagger.spec({"data.train.uri": f"file:train.{ending}"}), tagger.files)).table("test")
        for ending in ("jsonl", "conll")
    ]
    assert tables[0].equals(tables[1])


def test_the_first_token_of_a_word_bears_its_tag(tagger: Tagger) -> None:
    task = tagger.task()
    batch = next(iter(task.batches("train", 0, Share())))
    sentences = dict(enumerate(tagged_sentences()))
    for place, row in enumerate(batch.id):
        words, tags = sentences[int(row)]
        if batch.weight[place]:
            bears = batch.label[place] != NO_TAG
            assert [task.labels[label] for label in batch.label[place][bears]] == tags
            assert batch.word[place][bears].tolist() == list(range(len(words)))
            assert batch.attention_mask[place].sum() == len(words) + 2  # [CLS] and [SEP]


def test_words_that_were_cut_off_count_as_outside(tagger: Tagger) -> None:
    task = tagger.task({"data.batching.maxLength": 8})
    model = task.build().eval()
    with torch.no_grad():
        model.classifier.weight.zero_()  # type: ignore[union-attr, operator]
        model.classifier.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))  # type: ignore[union-attr, operator]
    assert task.labels == LABELS
    for batch in task.batches("test", 0, Share()):
        with torch.inference_mode():
            told = predict(task, model, batch, torch.device("cpu"))
        for tags, predicted in zip(told["tags"], told["predicted"], strict=True):
            assert len(predicted) == len(tags)
            assert predicted[:6].tolist() == [0] * min(6, len(tags))
            assert predicted[6:].tolist() == [CUT_OFF] * max(0, len(tags) - 6)
    counts = task.store.facts["counts"]
    assert counts["wordsCutOffTest"] == sum(
        max(0, len(batch_tags) - 6)
        for batch in task.batches("test", 0, Share())
        for batch_tags, weight in zip(batch.tags, batch.weight, strict=True)
        if weight
    )


def test_the_loss_is_that_of_transformers(tagger: Tagger) -> None:
    task = tagger.task()
    model = task.build().eval()
    batch = next(iter(task.batches("train", 0, Share())))
    loss, count = task.step(model, batch, torch.device("cpu"))
    theirs = model(
        input_ids=torch.from_numpy(batch.input_ids),
        attention_mask=torch.from_numpy(batch.attention_mask),
        labels=torch.from_numpy(np.where(batch.weight[:, None] > 0, batch.label, NO_TAG)),
    ).loss
    torch.testing.assert_close(loss / count, theirs)


def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(tagger: Tagger) -> None:
    changes = {"freezing": {"preset": "last-n", "depth": 1}, "training.epochs": 3}
    spec = tagger.spec(changes)
    plan = prepare_job(spec, KIND, tagger.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(tagger.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = tagger.run(changes, "cached", prefix=site)
    computed = tagger.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] > 0


def test_a_tag_that_no_training_row_has_is_named(tagger: Tagger) -> None:
    write_jsonl(tagger.root / "test.jsonl", [(["red", "round"], ["B-NEW", "O"])])
    with pytest.raises(TrainerError, match=r"test has tags that no training row has: .'B-NEW'.") as refused:
        tagger.task({"data.test": {"uri": "file:test.jsonl"}})
    assert refused.value.field == "spec.data.columns.tags"


@pytest.mark.parametrize(
    ("text", "says"),
    [("red B-PER\nround\n", "line 2: a word without a tag"), ("\n\n", "has no rows")],
)
def test_a_conll_file_that_is_none_is_refused(text: str, says: str, tagger: Tagger) -> None:
    (tagger.root / "bad.conll").write_text(text, encoding="utf-8")
    with pytest.raises(TrainerError, match=says):
        tagger.task({"data.train.uri": "file:bad.conll"})


def test_a_row_with_more_tags_than_words_is_refused(tagger: Tagger) -> None:
    write_jsonl(tagger.root / "bad.jsonl", [(["red"], ["B-PER", "O"])])
    with pytest.raises(TrainerError, match="row 0: it has 1 tokens and 2 tags"):
        tagger.task({"data.train.uri": "file:bad.jsonl"})


rows = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=5)


@settings(deadline=None)  # the first example imports seqeval
@given(rows, st.randoms(use_true_random=False))
def test_entities_are_counted_as_a_count_by_hand_does(tags: list[list[int]], random: Any) -> None:
    predicted = [[random.randrange(4) for _ in row] for row in tags]
    found = tag_metrics(
        np.asarray([np.asarray(row) for row in tags] + [None], dtype=object)[:-1],
        np.asarray([np.asarray(row) for row in predicted] + [None], dtype=object)[:-1],
        np.ones(len(tags), dtype=np.float32),
        np.asarray([len(row) for row in tags]),
        LABELS,
    )
    true, guessed = (
        {(row, *entity) for row, side in enumerate(rows_) for entity in entities(side)} for rows_ in (tags, predicted)
    )
    hits = len(true & guessed)
    assert found["precision"] == pytest.approx(hits / len(guessed) if guessed else 0)
    assert found["recall"] == pytest.approx(hits / len(true) if true else 0)
    assert found["f1"] == pytest.approx(2 * hits / (len(true) + len(guessed)) if hits else 0)
    assert found["loss"] == pytest.approx(len(tags) / sum(map(len, tags)))


def entities(row: list[int]) -> list[tuple[str, int, int]]:
    """Type, begin and end of each entity: one begins at B-, or at I- of another type than the word before."""
    found: list[tuple[str, int, int]] = []
    open_: tuple[str, int] | None = None
    for place, tag in enumerate([*(LABELS[each] for each in row), "O"]):
        goes_on = open_ is not None and tag == f"I-{open_[0]}"
        if open_ is not None and not goes_on:
            found.append((*open_, place))
            open_ = None
        if tag != "O" and not goes_on:
            open_ = (tag[2:], place)
    return found


def test_parts_of_speech_are_counted_word_by_word() -> None:
    tags, predicted = (np.asarray([np.asarray(row), None], dtype=object)[:-1] for row in ([0, 1, 1], [0, 1, 0]))
    found = tag_metrics(tags, predicted, np.zeros(1, dtype=np.float32), np.asarray([3]), ["NOUN", "VERB"])
    assert found["f1"] == found["accuracy"] == pytest.approx(2 / 3)


def test_a_byte_level_tokenizer_sees_the_space_before_each_word(tagger: Tagger) -> None:
    """As in a text: else the exported model would be asked about other tokens than it was trained on."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoTokenizer, RobertaTokenizerFast

    sentences = tagged_sentences()
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator([" ".join(words) for words, _ in sentences], 300, special_tokens=special)
    for file in (tagger.root / "model").glob("tokenizer*"):
        file.unlink()
    RobertaTokenizerFast(tokenizer_object=tokenizer._tokenizer).save_pretrained(tagger.root / "model")
    config = tagger.root / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"vocab_size": 320}), encoding="utf-8")
    task = tagger.task({"model.init": "random"})
    read = AutoTokenizer.from_pretrained(tagger.root / "model", add_prefix_space=True)
    batch = next(iter(task.batches("train", 0, Share())))
    for row in np.flatnonzero(batch.weight):
        words, _ = sentences[int(batch.id[row])]
        kept = batch.input_ids[row][batch.attention_mask[row] > 0].tolist()
        assert kept == read(" ".join(words))["input_ids"]
    task.export(task.build(), tagger.root / "exported")
    exported = AutoTokenizer.from_pretrained(tagger.root / "exported")
    assert exported("red round")["input_ids"] == read("red round")["input_ids"]


@pytest.mark.parametrize(("tags", "says"), [([1, 0], "lists of int64, not of text"), (["O", None], "lacks a value")])
def test_tags_that_are_no_names_are_refused(tags: list[Any], says: str, tagger: Tagger) -> None:
    (tagger.root / "bad.jsonl").write_text(json.dumps({"tokens": ["red", "old"], "tags": tags}) + "\n", "utf-8")
    with pytest.raises(TrainerError, match=says) as refused:
        tagger.task({"data.train.uri": "file:bad.jsonl"})
    assert refused.value.field == "spec.data.columns.tags"


def test_predictions_are_kept_without_pickles(tagger: Tagger, tmp_path: Path) -> None:
    task = tagger.task()
    with torch.inference_mode():
        batch = next(iter(task.batches("test", 0, Share())))
        told = predict(task, task.build().eval(), batch, torch.device("cpu"))
    np.savez(tmp_path / "told.npz", **plain_columns(told))  # type: ignore[arg-type]
    with np.load(tmp_path / "told.npz", allow_pickle=False) as read:
        assert [json.loads(row) for row in read["tags"]] == [row.tolist() for row in told["tags"]]
