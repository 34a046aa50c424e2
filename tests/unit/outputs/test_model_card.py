"""The model card: what the hub reads of it, and what it tells people."""

import ast
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.unit.outputs.summaries import SEARCHED, search_summary, searched, summary
from tests.unit.tiny_images import TinyImages
from tests.unit.tiny_objects import CONFIGS, TinyObjects
from thaw_api.manifest import read_job
from thaw_api.tasks import TASKS
from thaw_trainer.outputs.model_card import PIPELINE_TAGS, card_of, write_model_card
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.tasks.protocol import Share, predict


def front(card: str) -> dict[str, Any]:
    """The front matter."""
    _, matter, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(matter)
    return found


def code(card: str, language: str) -> str:
    """The block of code in a language."""
    found = re.search(rf"^(`{{3,}}){language}\n(.*?)\n\1$", card, re.DOTALL | re.MULTILINE)
    assert found
    return found[2]


def section(card: str, title: str) -> str:
    """The text below a heading."""
    return card.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def run_with_test(**metrics: float) -> RunSummary:
    """A run with these test metrics."""
    return summary(final={"validation": {"metrics": {"accuracy": 0.8}}, "test": {"metrics": metrics, "rows": 57}})


def test_the_hub_reads_task_library_and_test_results() -> None:
    matter = front(card_of(summary()))
    assert matter["library_name"] == "transformers"
    assert matter["pipeline_tag"] == "text-classification"
    assert matter["metrics"] == ["accuracy", "f1", "matthews_correlation"]
    ((result,),) = (model["results"] for model in matter["model-index"])
    assert result["task"]["type"] == "text-classification"
    assert result["dataset"] == {"name": "train.csv", "type": "csv", "split": "test"}
    found = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert found == {"accuracy": 0.7719, "f1": 0.7123, "matthews_correlation": 0.6543, "loss": 0.6789}


def test_the_hubs_own_client_understands_it() -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(card_of(summary())).data
    assert data.library_name == "transformers"
    assert [(result.metric_type, result.metric_value) for result in data.eval_results][:1] == [("accuracy", 0.7719)]
    assert {result.dataset_split for result in data.eval_results} == {"test"}


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ({"uri": "hf://distilbert/distilbert-base-uncased@abc123"}, "distilbert/distilbert-base-uncased"),
        ({"uri": "hf://distilbert/distilbert-base-uncased", "init": "random"}, None),
        ({"uri": "pkg://package/model"}, None),
    ],
)
def test_a_base_model_is_named_only_if_the_hub_has_it_and_its_weights_were_used(
    model: dict[str, str], base: str | None
) -> None:
    card = card_of(summary(changes={"model": model}))
    assert front(card).get("base_model") == base
    assert ("random weights" in card) == (model.get("init") == "random")


def test_a_test_metric_that_is_not_a_number_is_no_result() -> None:
    matter = front(card_of(run_with_test(accuracy=0.5, f1=math.nan)))
    assert matter["metrics"] == ["accuracy"]
    assert "nan" not in str(matter).lower()
    assert "model-index" not in front(card_of(run_with_test(accuracy=math.nan)))


def test_nothing_is_claimed_that_the_run_does_not_know() -> None:
    assert not {"license", "language", "datasets"} & front(card_of(summary())).keys()


def test_test_metrics_stand_beside_validation_metrics_and_what_chance_would_give() -> None:
    results = section(card_of(summary()), "Results")
    assert "| accuracy | 0.8000 | 0.7719 |" in results
    assert "The 57 test rows were measured once" in results
    # sqrt(0.7719 * 0.2281 / 57)
    assert "standard error of about 0.056" in results
    assert "`apples`, has an accuracy of 0.3509" in results


def test_only_chosen_metrics_and_the_objective_are_told() -> None:
    card = card_of(summary(changes={"evaluation.metrics": ["f1"]}))
    assert front(card)["metrics"] == ["accuracy", "f1"]
    assert "mcc" not in section(card, "Results")


def test_the_snippet_is_a_program_that_loads_this_folder() -> None:
    program = code(card_of(summary()), "python")
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call)}
    assert {"AutoTokenizer.from_pretrained", "AutoModelForSequenceClassification.from_pretrained"} <= calls
    assert 'folder = "."' in program


def test_the_snippet_cuts_texts_as_the_best_trial_did() -> None:
    maximum = [{"path": "data.batching.maxLength", "choice": {"values": [64, 128]}}]
    record = searched(0, 1e-3, [0.5])
    record.parameters = {"data.batching.maxLength": 64}
    card = card_of(summary([record], changes={"search.parameters": maximum}))
    assert "min(64, tokenizer.model_max_length)" in code(card, "python")


def test_the_manifest_in_the_card_is_the_job_again() -> None:
    for changes in ({"search.parameters": SEARCHED}, {"data.columns": {"text": "```", "label": "----- 数"}}):
        run = summary([searched(0, 1e-3, [0.5])], changes=changes)
        assert read_job(yaml.safe_load(code(card_of(run), "yaml"))) == run.job


def test_training_tells_phases_and_the_best_trials_exact_values() -> None:
    card = section(card_of(search_summary()), "Training")
    assert "trial-0001, the best of 5 trials (2 succeeded, 1 stopped, 2 failed)." in card
    assert "| training.optimizer.lr | 0.001 |" in card
    assert "batches of 9 rows" in card
    assert "its best epoch, 2 of 3" in card
    assert "| top-1 | 2–3 | 2,000 | 10.0% |" in card


def test_strange_labels_stay_in_their_cells() -> None:
    labels = ["a|b", "<script>alert(1)</script>", "`code` *bold* [link](x)", "two\nlines"]
    card = card_of(summary(labels=labels))
    lines = [line for line in section(card, "Labels").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(labels)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)
    assert "<script>" not in section(card, "Labels")
    assert r"\`code\` \*bold\* \[link\](x)" in card


def test_labels_with_few_test_rows_are_named_among_the_limits() -> None:
    labels = [f"class-{index}" for index in range(13)]  # with 20, 19, … 8 test rows
    limits = section(card_of(summary(labels=labels)), "Limits")
    assert "2 of its labels have fewer than 10 test rows: class-11, class-12." in limits
    assert "fewer than 10 test rows" not in section(card_of(summary()), "Limits")


def test_data_gives_rows_by_split_and_the_fingerprint() -> None:
    data = section(card_of(summary(changes={"data.split": {"stratifyBy": "label"}})), "Data")
    assert "| train | 570 |" in data
    assert "held out of the training data, in proportion by `label`" in data
    assert "`0123456789abcdef`" in data


def test_the_card_lies_beside_the_model(tmp_path: Path) -> None:
    write_model_card(summary(), tmp_path / "model")
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["README.md"]
    assert (tmp_path / "model" / "README.md").read_text(encoding="utf-8") == card_of(summary())


@pytest.mark.parametrize("library", ["transformers", "timm", "torchvision"])
@pytest.mark.parametrize("task", sorted(TASKS))
def test_each_task_has_a_card_whose_code_is_python(task: str, library: str) -> None:
    own = {"data.train": {"uri": "gymnasium://CartPole-v1"}} if TASKS[task].acts else {}
    environment = {"id": "CartPole-v1", "arguments": {}, "attributes": {"gravity": 20}}
    told = {"image": {"size": 32}, "sound": {"rate": 8000}, "testEnvironment": environment}
    of_the_task = summary(changes={"task": task} | own, facts={"library": library, "labels": ["Ann", "Bob"], **told})
    card = card_of(of_the_task)
    ast.parse(code(card, "python"))
    assert front(card)["pipeline_tag"] == PIPELINE_TAGS.get(task, task)
    assert "Undefined" not in card
    assert "test rows: " not in card, "nothing is known of the rows of a class"


@pytest.mark.parametrize("uri", ["file:model", "timm://resnet10t", "torchvision://resnet18"])
def test_the_code_of_an_image_classifiers_card_runs(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = TinyImages(tmp_path)
    own = {"model.init": "random", "data.features": [{"resize": {"size": 32}}]} if uri != "file:model" else {}
    spec = tiny.spec({"model.uri": uri} | own)
    task = tiny.task(spec)
    model = task.build().eval()
    task.export(model, tmp_path / "exported")
    monkeypatch.chdir(tmp_path / "exported")
    batch = next(iter(task.batches("test", 0, Share())))
    picture = sorted((tmp_path / "pictures").rglob("*.png"))[int(batch.id[0])]
    Path("an_image.png").write_bytes(picture.read_bytes())
    card = card_of(summary(changes={"task": spec.task}, facts=task.store.facts))
    exec(compile(code(card, "python"), "card", "exec"), {})  # noqa: S102
    label, share = capsys.readouterr().out.split()
    with torch.inference_mode():
        shares = task.outputs(model, batch, torch.device("cpu"))["logits"][0].softmax(dim=-1)
    assert label == task.labels[int(shares.argmax())]
    assert float(share) == pytest.approx(float(shares.max()), abs=0.02)


def test_a_detectors_labels_stand_with_their_precision() -> None:
    run = summary(changes={"task": "object-detection"}, facts={"labels": ["boat", "buoy"], "image": {"size": 32}})
    assert "| 0 | boat |" in section(card_of(run), "Labels")
    run.final["test"]["details"]["averagePrecision"] = {"boat": 0.25, "buoy": None}
    assert "| boat | 0.2500 |" in section(card_of(run), "Labels")
    assert "| buoy | – |" in section(card_of(run), "Labels")


@pytest.mark.parametrize("family", list(CONFIGS))
def test_the_code_of_a_detectors_card_runs(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = TinyObjects(tmp_path, family)
    spec = tiny.spec()
    task = tiny.task(spec)
    model = task.build().eval()
    task.export(model, tmp_path / "exported")
    monkeypatch.chdir(tmp_path / "exported")
    batch = next(iter(task.batches("test", 0, Share())))
    Path("an_image.png").write_bytes((tmp_path / "pictures" / f"{int(batch.id[0]):03d}.png").read_bytes())
    program = code(card_of(summary(changes={"task": spec.task}, facts=task.store.facts)), "python")
    exec(compile(program.replace("threshold=0.5", "threshold=0.0"), "card", "exec"), {})  # noqa: S102
    printed = sorted(float(line.split()[1]) for line in capsys.readouterr().out.splitlines())
    with torch.inference_mode():
        found = predict(task, model, batch, torch.device("cpu"))
    assert printed == pytest.approx(sorted(found["score"][0].tolist()), abs=3e-3)
