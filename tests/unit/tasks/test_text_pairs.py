"""Translation and summarization: losses and texts are compared with plain transformers on each row alone, metrics with
torchmetrics."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.text import SacreBLEUScore
from torchmetrics.text.rouge import _rouge_score_update

from tests.unit.outputs.summaries import summary
from tests.unit.outputs.test_model_card import code
from tests.unit.predicting import by_workers, predictions_of
from tests.unit.tiny_models import save_pretrained
from tests.unit.tiny_pairs import PAIR_FAMILIES, PairJob, pairs, save_pair_tokenizer
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.errors import TrainerError
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import measure_split, predict_split
from thaw_trainer.outputs.model_card import card_of
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import Share
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.tasks.text_pairs import TextPairTask
from thaw_trainer.tasks.written_metrics import summary_metrics, translation_metrics

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PairJob]:
    """Jobs that no test changes."""
    root = tmp_path_factory.mktemp("jobs")
    return {family: PairJob(root / family, family=family) for family in PAIR_FAMILIES}


def plain_model(folder: Path) -> Any:
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval()


def plain_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def in_split(task: TextPairTask, split: str) -> list[tuple[str, str]]:
    """The pairs of a split, in order of id."""
    rows = pairs()
    return [rows[row] for row in sorted(task.store.table(split)["id"].to_pylist())]


@pytest.mark.parametrize("family", PAIR_FAMILIES)
def test_a_rows_loss_is_that_of_transformers_for_the_pair_alone(jobs: dict[str, PairJob], family: str) -> None:
    job = jobs[family]
    task, plain, tokenizer = job.task(), plain_model(job.root / "model"), plain_tokenizer(job.root / "model")
    found = predictions_of(task)
    for (source, target), loss, tokens in zip(in_split(task, "test"), found["loss"], found["tokens"], strict=True):
        inputs = tokenizer(source, text_target=target, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            wanted = plain(**inputs).loss
        assert tokens == inputs["labels"].shape[1] == len(target.split()) + 1
        assert loss / tokens == pytest.approx(float(wanted), abs=2e-5)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_the_training_loss_counts_every_token_of_the_targets_once(jobs: dict[str, PairJob], family: str) -> None:
    task = jobs[family].task()
    model = task.build().eval()
    loss = count = 0.0
    for batch in task.batches("train", 0, Share()):
        with torch.no_grad():
            one, tokens = task.step(model, batch, CPU)
        loss, count = loss + float(one), count + tokens
    found = predictions_of(task, "train")
    assert count == sum(len(target.split()) + 1 for _, target in in_split(task, "train"))
    assert loss == pytest.approx(found["loss"].sum(), rel=1e-5)


def test_predictions_of_workers_are_those_of_one(jobs: dict[str, PairJob]) -> None:
    task = jobs["bart"].task()
    model = task.build().eval()
    by_world = [by_workers(task, model, "validation", world) for world in (1, 3)]
    assert all(np.array_equal(by_world[0][name], by_world[1][name]) for name in ("id", "tokens", "loss"))


@pytest.mark.parametrize("family", PAIR_FAMILIES)
def test_texts_are_those_of_the_exported_models_beam_search(
    jobs: dict[str, PairJob], family: str, tmp_path: Path
) -> None:
    task = jobs[family].task()
    model = task.build()
    found = predict_split(model, task, "test", Gang(), task.spec.training)
    assert found is not None
    task.export(model, tmp_path)
    plain, tokenizer = plain_model(tmp_path), plain_tokenizer(tmp_path)
    assert plain.generation_config.num_beams == 4
    for (source, target), written, known in zip(in_split(task, "test"), found["written"], found["target"], strict=True):
        inputs = tokenizer(source, return_tensors="pt")
        with torch.inference_mode():
            tokens = plain.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        assert written == tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
        assert known == target
        assert len(written.split()) <= task.store.facts["longestTarget"]
    assert len(set(found["written"])) > 1


def test_the_manifest_decides_how_texts_are_written(jobs: dict[str, PairJob]) -> None:
    greedy, short = (
        predictions_of(jobs["bart"].task({"evaluation.generation": each}))["written"]
        for each in ({"beams": 1, "maxTokens": 6}, {"beams": 1, "maxTokens": 2})
    )
    assert any(len(text.split()) > 2 for text in greedy)
    assert all(len(text.split()) <= 2 for text in short)


@pytest.mark.parametrize(
    ("changes", "writes"),
    [
        ({}, False),
        ({"search.objective.metric": "bleu"}, True),
        ({"training.earlyStopping": {"metric": "chrf", "patience": 1}}, True),
    ],
)
def test_validation_writes_texts_only_where_something_is_chosen_by_them(
    jobs: dict[str, PairJob], changes: dict[str, Any], writes: bool
) -> None:
    task = jobs["t5"].task(changes)
    found = measure_split(task.build(), task, "validation", Gang(), task.spec.training)
    assert ("bleu" in found) == writes
    assert found["loss"] > 0
    whole = task.metrics(predictions_of(task, "validation"), full=True)
    assert whole.keys() == {"loss", "bleu", "chrf"}
    assert whole["loss"] == found["loss"]


def test_a_tiny_t5_learns_the_rule(tmp_path: Path) -> None:
    job = PairJob(tmp_path, rows=pairs(300, longest=6))
    constant = {"training.epochs": 8, "training.schedule": {"name": "constant"}}
    told = job.run(constant | {"model.init": "random", "search.objective.metric": "chrf"})
    assert told.metrics[-1]["loss"] < 0.85 * told.metrics[0]["loss"]
    assert told.metrics[-1]["chrf"] > told.metrics[0]["chrf"] + 8


@pytest.mark.parametrize("family", PAIR_FAMILIES)
@pytest.mark.parametrize("depth", [1, 2])
def test_the_cached_encoder_gives_the_same_losses_to_the_last_bit(tmp_path: Path, family: str, depth: int) -> None:
    job = PairJob(tmp_path, family=family)
    changes = {"freezing": {"preset": "last-n", "depth": depth}, "search.objective.metric": "bleu"}
    spec = job.spec(changes)
    plan = prepare_job(spec, find_task(spec.task), job.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(tmp_path / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = job.run(changes, "cached", prefix=site)
    computed = job.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] == 6 - depth, "three blocks of the encoder, three of the decoder"


def test_lora_trains_and_is_exported_merged(tmp_path: Path) -> None:
    job = PairJob(tmp_path, family="t5", dropout_rate=0.0)
    task = job.task({"model.adapter": {"method": "lora", "rank": 4}})
    told = job.run({"model.adapter": {"method": "lora", "rank": 4}})
    assert told.metrics[-1]["loss"] < told.metrics[0]["loss"]
    assert task.metrics({"loss": np.ones(2), "tokens": np.asarray([1, 3])}, full=False) == {"loss": 0.5}


def test_what_a_model_was_told_for_other_texts_is_forgotten(tmp_path: Path) -> None:
    job = PairJob(tmp_path, family="bart")
    file = tmp_path / "model" / "generation_config.json"
    told = json.loads(file.read_text("utf-8")) | {"min_length": 9, "repetition_penalty": 2.0, "no_repeat_ngram_size": 3}
    file.write_text(json.dumps(told), encoding="utf-8")
    chosen = job.task().build().generation_config
    assert (chosen.min_length, chosen.repetition_penalty, chosen.no_repeat_ngram_size) == (0, 1.0, 0)  # type: ignore[union-attr]


def test_samples_are_the_first_test_rows(jobs: dict[str, PairJob]) -> None:
    task = jobs["t5"].task()
    model = task.build().eval()
    found = predict_split(model, task, "test", Gang(), task.spec.training)
    assert found is not None
    samples = task.samples(model, CPU)
    assert [each["model"] for each in samples] == found["written"][:3].tolist()
    assert [each["text"] for each in samples] == found["target"][:3].tolist()


def test_an_instruction_stands_before_each_source(jobs: dict[str, PairJob]) -> None:
    plain = jobs["t5"].task()
    told = jobs["t5"].task({"data.features": [{"instruction": {"text": "old far "}}]})
    sources, prefixed = (task.store.table("train")["input_ids"].to_pylist() for task in (plain, told))
    tokenizer = plain_tokenizer(jobs["t5"].root / "model")
    before = tokenizer("old far", add_special_tokens=False)["input_ids"]
    assert prefixed == [[*before, *source] for source in sources]
    assert told.store.table("train")["labels"].equals(plain.store.table("train")["labels"])


def test_what_is_too_long_is_cut_and_counted(jobs: dict[str, PairJob]) -> None:
    task = jobs["t5"].task({"data.batching": {"maxLength": 8, "maxTargetLength": 4}})
    rows = [pair for split in ("train", "validation", "test") for pair in in_split(task, split)]
    counts = task.store.facts["counts"]
    assert counts["sourcesCut"] == sum(len(source.split()) > 7 for source, _ in rows)
    assert counts["targetsCut"] == sum(len(target.split()) > 3 for _, target in rows)
    for name, most in (("input_ids", 8), ("labels", 4)):
        lengths = [len(tokens) for tokens in task.store.table("train")[name].to_pylist()]
        assert max(lengths) == most
    ends = {tokens[-1] for tokens in task.store.table("train")["labels"].to_pylist()}
    assert ends == {2}, "what is cut still ends"
    assert task.store.facts["longestTarget"] == 4


def test_the_baseline_of_a_translation_is_its_source_and_of_a_summary_the_beginning(tmp_path: Path) -> None:
    job = PairJob(tmp_path / "translation")
    task = job.task()
    sources, targets = zip(*in_split(task, "test"), strict=True)
    found = task.store.facts["baseline"]
    assert found["test"] == pytest.approx(chrf(list(targets), list(sources)), abs=0.05)
    task = PairJob(tmp_path / "summarization", "summarization").task()
    words = round(np.mean([len(summary.split()) for _, summary in in_split(task, "train")]))
    scores = [rouge(" ".join(text.split()[:words]), summary)["rougeL"] for text, summary in in_split(task, "test")]
    assert task.store.facts["baseline"]["test"] == pytest.approx(np.mean(scores))


def test_a_summarizer_is_measured_by_rouge(tmp_path: Path) -> None:
    task = PairJob(tmp_path, "summarization", family="bart").task()
    found = predictions_of(task)
    metrics = task.metrics(found, full=True)
    scores = [rouge(text, target) for text, target in zip(found["written"], found["target"], strict=True)]
    for name in ("rouge1", "rouge2", "rougeL"):
        assert metrics[name] == pytest.approx(np.mean([each[name] for each in scores]))


def rouge(written: str, target: str) -> dict[str, float]:
    """F measures of a text, by torchmetrics."""
    keys: Any = ["1", "2", "L"]
    by_key = _rouge_score_update([written], [[target]], [1, 2, "L"], accumulate="best")
    return {f"rouge{name}": float(by_key[key][0]["fmeasure"]) for name, key in zip(keys, (1, 2, "L"), strict=True)}


def chrf(targets: list[str], written: list[str]) -> float:
    """chrF2 as Popović defines it (W15-3049): characters without spaces, in runs of 1 to 6."""
    precisions, recalls = [], []
    for size in range(1, 7):
        runs = [
            [Counter(text[i : i + size] for i in range(len(text) - size + 1)) for text in map(joined, side)]
            for side in (written, targets)
        ]
        hits = sum((one & other).total() for one, other in zip(*runs, strict=True))
        totals = [sum(each.total() for each in side) for side in runs]
        if all(totals):
            precisions.append(hits / totals[0])
            recalls.append(hits / totals[1])
    if not sum(precisions):
        return 0.0
    precision, recall = float(np.mean(precisions)), float(np.mean(recalls))
    return 100 * 5 * precision * recall / (4 * precision + recall)


def joined(text: str) -> str:
    return "".join(text.split())


texts = st.lists(
    st.lists(st.sampled_from(["old", "far", "red", "sun."]), max_size=9).map(" ".join), min_size=1, max_size=6
)


@settings(deadline=None)
@given(texts, st.randoms(use_true_random=False))
def test_metrics_are_those_of_torchmetrics(targets: list[str], random: Any) -> None:
    written = [" ".join(random.sample(text.split(), len(text.split()))) for text in targets]
    found = translation_metrics(targets, written)
    references = [[text] for text in targets]
    theirs = 100 * float(SacreBLEUScore()(written, references))
    if theirs > 0:  # sacrebleu gives a little where no four words in a row are right
        assert found["bleu"] == pytest.approx(theirs, abs=1e-3)
    assert found["chrf"] == pytest.approx(chrf(targets, written), abs=1e-6)
    scores = [rouge(text, target) for text, target in zip(written, targets, strict=True)]
    for name, value in summary_metrics(targets, written).items():
        assert value == pytest.approx(np.mean([each[name] for each in scores]), abs=1e-6)


def test_words_of_any_script_count() -> None:
    assert summary_metrics(["старый дом"], ["старый дом"])["rouge2"] == 1
    assert summary_metrics(["हिन्दी भाषा"], ["हिन्दी"])["rouge1"] == pytest.approx(2 / 3)
    assert summary_metrics(["Le café d'été"], ["le cafe d ete"])["rouge1"] == pytest.approx(2 / 4)


lengths = st.lists(st.integers(1, 200), min_size=1, max_size=200).map(lambda each: np.asarray(each, dtype=np.int32))


@given(lengths, lengths, st.integers(1, 40))
def test_held_out_rows_decide_nothing_about_how_training_rows_are_padded(
    training: Any, held_out: Any, fewest: int
) -> None:
    alone = fit_widths(training, int(training.max()), fewest)
    longest = int(max(training.max(), held_out.max()))
    beside = fit_widths(training, longest, fewest)
    assert beside[: len(alone)] == alone
    assert alone[-1] == training.max()
    assert beside[-1] == longest


@pytest.mark.parametrize(
    ("changes", "says", "field"),
    [
        ({"model.head.dropout": 0.1}, "no dropout before its head", "spec.model.head.dropout"),
        (
            {"data.features": [{"languages": {"source": "en", "target": "fr"}}]},
            "has no languages to choose",
            "spec.data.features",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused(
    jobs: dict[str, PairJob], changes: dict[str, Any], says: str, field: str
) -> None:
    with pytest.raises(TrainerError, match=says) as refused:
        jobs["t5"].task(changes)
    assert refused.value.field == field


@pytest.mark.parametrize(("row", "role"), [(("old far", " "), "target"), (("", "red"), "source")])
def test_an_empty_text_is_named(tmp_path: Path, row: tuple[str, str], role: str) -> None:
    job = PairJob(tmp_path, rows=[*pairs(10), row] if row[0] else [*pairs(10), (" ", row[1])])
    with pytest.raises(TrainerError, match=f"1 of 11 rows .* row 10: its {role} is empty") as refused:
        job.task()
    assert refused.value.field == f"spec.data.columns.{role}"


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path: Path) -> None:
    job = PairJob(tmp_path)
    save_pair_tokenizer(tmp_path / "model", ends=False)
    with pytest.raises(TrainerError, match="never learn to stop"):
        job.task()


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_model_that_writes_no_other_text_is_refused(tmp_path: Path, family: str) -> None:
    job = PairJob(tmp_path)
    for file in (tmp_path / "model").iterdir():
        file.unlink()
    save_pretrained(tmp_path / "model", family)
    save_pair_tokenizer(tmp_path / "model")
    with pytest.raises(TrainerError, match=f"{family} does not read one text and write another") as refused:
        job.task()
    assert refused.value.field == "spec.model.uri"


LANGUAGES = {"data.features": [{"languages": {"source": "de_DE", "target": "fr_XX"}}]}


def save_many_languages(folder: Path) -> None:
    """A tokenizer as mBART has it, its words those of the tiny models."""
    from transformers import MBartTokenizer

    words = [
        (word, -float(index))
        for index, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"])
    ]
    tokenizer = MBartTokenizer(vocab=words)
    tokenizer.save_pretrained(folder)


def test_a_model_of_many_languages_is_told_which(tmp_path: Path) -> None:
    job = PairJob(tmp_path, family="mbart", vocab_size=80, pad_token_id=1, bos_token_id=0)
    save_many_languages(tmp_path / "model")
    with pytest.raises(TrainerError, match="say which") as refused:
        job.task()
    assert refused.value.field == "spec.data.features"
    with pytest.raises(TrainerError, match="no language 'xx'"):
        job.task({"data.features": [{"languages": {"source": "xx", "target": "fr_XX"}}]})
    task = job.task(LANGUAGES)
    tokenizer = plain_tokenizer(tmp_path / "model")
    french, german = (tokenizer.convert_tokens_to_ids(code) for code in ("fr_XX", "de_DE"))
    table = task.store.table("train")
    assert all(german in (tokens[0], tokens[-1]) for tokens in table["input_ids"].to_pylist())
    assert all(french in (tokens[0], tokens[-1]) for tokens in table["labels"].to_pylist())
    model: Any = task.build().eval()
    (batch, *_) = task.batches("test", 0, Share())
    with torch.inference_mode():
        written = task.write(model, batch, CPU, full=True)["written"]
    assert set(written[:, 0].tolist()) == {french}, "as it began when it was trained"
    with pytest.raises(TrainerError, match="no language 'a'"):
        job.task({"data.features": [{"languages": {"source": "de_DE", "target": "a"}}]})  # a piece of words


@pytest.mark.parametrize("name", ["translation", "summarization"])
def test_the_code_of_a_card_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = PairJob(tmp_path, name, family="bart").task({"data.features": [{"instruction": {"text": "old "}}]})
    model = task.build()
    task.export(model, tmp_path / "exported")
    monkeypatch.chdir(tmp_path / "exported")
    changes = {"task": name, "data.features": task.spec.data.features}
    program = code(card_of(summary(changes=changes, facts=task.store.facts)), "python")
    assert json.dumps("old ") + ' + "A text of yours."' in program
    exec(compile(program.replace("A text of yours.", "red far"), "card", "exec"), {})  # noqa: S102
    ids = torch.tensor([plain_tokenizer(tmp_path / "model")("old red far")["input_ids"]])
    with torch.inference_mode():
        wanted = plain_model(tmp_path / "exported").generate(input_ids=ids)
    assert capsys.readouterr().out.strip() == task.decoded(wanted)[0]
