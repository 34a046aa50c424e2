"""Pairs of texts, several labels and numbers: whatever a trial of single labels can do, these can."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.unit.fused.test_groups import together, train
from tests.unit.loop.gangs import Case, Worked, run_gang
from tests.unit.loop.gangs import train as train_case
from tests.unit.outputs.summaries import summary
from tests.unit.outputs.test_model_card import code, front, section
from tests.unit.prefix.sites import HEAD, site
from tests.unit.tiny_jobs import GRADUAL, NO_DROPOUT, TinyJob
from tests.unit.tiny_texts import KINDS, TinyMultiLabel, TinyPairs, TinyRegression, TinyTexts, write_jsonl
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import predict_split
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.models.adapter_export import export_model
from thaw_trainer.outputs.model_card import card_of
from thaw_trainer.tasks.protocol import Share, predict

CPU = torch.device("cpu")
LORA = {"model.adapter": {"method": "lora", "rank": 2}}
SGD: dict[str, Any] = {"training.optimizer": {"name": "sgd", "lr": 0.02}}


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyTexts:
    """A job of each kind, which no test changes."""
    made: TinyTexts = request.param(tmp_path_factory.mktemp("job"))
    return made


def rows_of(tiny: TinyTexts, ids: Any) -> list[dict[str, Any]]:
    source = type(tiny).rows()
    return [source[row] for row in ids]


@pytest.mark.parametrize("schedule", [HEAD, GRADUAL, GRADUAL | LORA], ids=["head", "gradual", "lora"])
def test_a_replayed_prefix_gives_the_same_bits(tiny: TinyTexts, schedule: dict[str, Any], tmp_path: Path) -> None:
    spec = tiny.spec(schedule)
    cached = tiny.run(spec, f"cached-{tmp_path.name}", prefix=site(tiny, spec, tmp_path / "cache"))
    computed = tiny.run(spec, f"computed-{tmp_path.name}")
    plain = [[{**report, "prefix": None} for report in run.reports] for run in (cached, computed)]
    assert plain[0] == plain[1]
    assert cached.reports[0]["prefix"]["blocks"] >= 1
    assert cached.metrics[0].keys() == spec.task_entry.metrics.keys()
    assert cached.losses[-1][-1] < cached.losses[0][0]


def test_heads_that_share_steps_are_what_each_is_alone(tiny: TinyTexts, tmp_path: Path) -> None:
    smoothing = {"training.labelSmoothing": 0.1} if tiny.spec().task_entry.smooths_labels else {}
    trials = [tiny.spec(HEAD | smoothing | {"training.optimizer.lr": lr}) for lr in (0.003, 0.01, 0.03)]
    alone = [train(tiny, spec, tmp_path, f"alone-{index}", None) for index, spec in enumerate(trials)]
    fused = together(tiny, trials, tmp_path)
    for one, other in zip(alone, fused, strict=True):
        assert torch.tensor(one.losses).sub(torch.tensor(other.losses)).abs().max() < 1e-5
        for mine, theirs in zip(one.metrics, other.metrics, strict=True):
            for name, value in mine.items():
                # Average precision jumps where two rows whose scores differ by less than that change places.
                assert value == pytest.approx(theirs[name], rel=1e-3, abs=1e-2 if name == "map" else 1e-3), name


def exported(tiny: TinyTexts, changes: dict[str, Any], folder: Path) -> tuple[dict[str, Any], Any]:
    """A model whose tensors have moved, exported to a folder: its predictions of the test rows before, and its task."""
    spec = tiny.spec(changes)
    task = tiny.task(spec)
    model = pristine_model(task, spec).eval()
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=random))
    found = predict_split(model, task, "test", Gang(), spec.training)
    assert found is not None
    export_model(task, model, spec.model, folder)
    return found, task


def loaded_logits(folder: Path, rows: list[dict[str, Any]]) -> Any:
    """What transformers alone makes of an exported model and raw rows: [rows, outputs]."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [[row[name] for row in rows] for name in ("text", "other") if name in rows[0]]
    inputs = tokenizer(*texts, truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).logits.numpy()


@pytest.mark.parametrize("changes", [{}, LORA], ids=["plain", "lora"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_transformers_alone_gets_the_same_metrics_from_the_export(
    kind: type[TinyTexts], family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    tiny = kind(tmp_path / "job", family=family)
    found, task = exported(tiny, changes, tmp_path / "out")
    metrics, rows = task.metrics(found, full=True), rows_of(tiny, found["id"])
    logits = loaded_logits(tmp_path / "out", rows)
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config
    names = [config.id2label[index] for index in range(config.num_labels)]
    if kind is TinyRegression:
        labels = np.asarray([row["label"] for row in rows])
        assert config.problem_type == "regression"
        assert names == ["label"]
        assert root_mean_squared_error(labels, logits[:, 0]) == pytest.approx(metrics["rmse"], rel=1e-4)
        assert family == "gpt2" or abs(logits.mean() - 1000) < 500, "the export speaks in the label's units"
    elif kind is TinyMultiLabel:
        true = np.asarray([[name in row["label"] for name in names] for row in rows])
        assert config.problem_type == "multi_label_classification"
        assert f1_score(true, logits > 0, average="micro") == pytest.approx(metrics["microF1"])
        assert accuracy_score(true, logits > 0) == pytest.approx(metrics["subsetAccuracy"])
    else:
        right = [names[best] == row["label"] for best, row in zip(logits.argmax(axis=1), rows, strict=True)]
        assert config.problem_type == "single_label_classification"
        assert np.mean(right) == pytest.approx(metrics["accuracy"])
        assert np.allclose(logits, found["logits"], atol=1e-4)


def test_the_code_of_the_model_card_runs_and_says_what_the_model_says(
    tiny: TinyTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, task = exported(tiny, {}, tmp_path)
    test = {"metrics": task.metrics(found, full=True), "details": task.details(found), "rows": len(found["id"])}
    final = {"validation": test, "test": test}
    objective = task.spec.task_entry.objective
    card = card_of(replace(summary(changes=tiny.own, facts=task.store.facts, final=final), metric=objective))
    rows = rows_of(tiny, found["id"][:2])
    program = code(card, "python")
    for column, variable in (("text", "texts"), ("other", "others")):
        texts = [row.get(column) for row in rows]
        program = re.sub(rf"^{variable} = .*$", f"{variable} = {texts!r}", program, flags=re.MULTILINE)
    assert ("others" in program) == isinstance(tiny, TinyPairs)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "card", "exec"), {})  # noqa: S102
    said = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert len(said) == 2
    for place, text in enumerate(said):
        if isinstance(tiny, TinyRegression):
            assert float(text) == pytest.approx(float(found["predicted"][place]), rel=1e-3)
        elif isinstance(tiny, TinyMultiLabel):
            given = [name for name, logit in zip(task.labels, found["logits"][place], strict=True) if logit > 0]
            assert text == (", ".join(given) or "no label")
        else:
            assert text.startswith(task.labels[int(found["logits"][place].argmax())])
    assert front(card)["pipeline_tag"] == "text-classification"
    assert ("\n## Labels\n" in card) != isinstance(tiny, TinyRegression)
    assert ("most frequent class" in section(card, "Results")) == isinstance(tiny, TinyPairs)
    assert ("For comparison, " in section(card, "Results")) != isinstance(tiny, TinyPairs)


@pytest.mark.parametrize("kind", [TinyMultiLabel, TinyRegression], ids=lambda kind: kind.__name__)
def test_rows_that_fill_a_batch_up_count_nothing(kind: type[TinyTexts], tmp_path: Path) -> None:
    tiny = kind(tmp_path, **NO_DROPOUT)
    spec = tiny.spec()
    task = tiny.task(spec)
    model = task.build().eval()
    (batch, *_) = [each for each in task.batches("train", 0, Share()) if each.weight.min() == 0]
    loss, count = task.step(model, batch, CPU)
    with torch.no_grad():
        found = predict(task, model, batch, CPU)
    assert count == len(found["id"]) < len(batch.weight)
    assert float(loss.detach()) / count == pytest.approx(task.metrics(found, full=True)["loss"], rel=1e-5)


def test_smoothing_moves_the_targets_of_several_labels_towards_a_half(tmp_path: Path) -> None:
    tiny = TinyMultiLabel(tmp_path, **NO_DROPOUT)
    plain, smooth = tiny.task(tiny.spec()), tiny.task(tiny.spec({"training.labelSmoothing": 0.2}))
    model, batch = plain.build().eval(), tiny.batch(tiny.spec(), "validation")
    logits = plain.outputs(model, batch, CPU)["logits"].detach()
    targets = torch.from_numpy(batch.label) * 0.8 + 0.1
    shares = logits.sigmoid()
    losses = -(targets * shares.log() + (1 - targets) * (1 - shares).log()).mean(dim=1)
    wanted = float((losses * torch.from_numpy(batch.weight)).sum())
    assert float(smooth.step(model, batch, CPU)[0].detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """A trial of each kind, without dropout: each worker draws its own."""
    root = tmp_path_factory.mktemp("jobs")
    found = []
    for kind in KINDS:
        tiny: TinyJob = kind(root / kind.__name__, **NO_DROPOUT)
        tiny.store(tiny.spec())
        found.append(Case(kind.__name__, GRADUAL | SGD, str(tiny.root), job=kind))
    return found


def test_two_workers_have_the_losses_and_metrics_of_one(cases: list[Case], tmp_path: Path) -> None:
    gang: dict[str, list[Worked]] = run_gang(tmp_path / "two", cases)
    for case in cases:
        one, two = train_case(case, tmp_path / case.name, Gang()), gang[case.name][0]
        for found, expected in zip(two.reports, one.reports, strict=True):
            assert found["train_losses"] == pytest.approx(expected["train_losses"], abs=1e-3)
            assert found["metrics"]["loss"] == pytest.approx(expected["metrics"]["loss"], abs=1e-3)


def test_numbers_in_other_units_are_learned_alike(tmp_path: Path) -> None:
    tiny = TinyRegression(tmp_path)
    told = tiny.run(tiny.spec(), "own")
    rows = [row | {"label": 0.001 * row["label"] - 7} for row in type(tiny).rows()]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    other = tiny.run(tiny.spec(), "other")
    assert np.allclose(other.losses, told.losses, rtol=1e-3)
    for mine, theirs in zip(told.metrics, other.metrics, strict=True):
        assert mine["rmse"] == pytest.approx(1000 * theirs.pop("rmse"), rel=1e-3)
        assert theirs == pytest.approx({name: mine[name] for name in theirs}, rel=1e-3)


def test_a_regressor_that_was_exported_is_fine_tuned_on_from_where_it_was(tmp_path: Path) -> None:
    tiny = TinyRegression(tmp_path, **NO_DROPOUT)
    found, _ = exported(tiny, {}, tmp_path / "again")
    spec = tiny.spec({"model.uri": "file:again"})
    task = tiny.task(spec)
    again = predict_split(task.build().eval(), task, "test", Gang(), spec.training)
    assert again is not None
    assert np.allclose(again["predicted"], found["predicted"], rtol=1e-4)
