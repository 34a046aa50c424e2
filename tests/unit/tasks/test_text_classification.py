from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.unit.tiny_jobs import LABELS, TinyJob
from tests.unit.tiny_models import VOCABULARY
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.tasks.protocol import JobFiles, Share, predict
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.tasks.text_classification import TextBatch, TextClassification
from thaw_trainer.uris import UriRoots

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job that no test changes."""
    return TinyJob(tmp_path_factory.mktemp("job"))


def batches(tiny: TinyJob, spec: FineTuneJobSpec, split: str, epoch: int = 0, world: int = 1) -> list[list[TextBatch]]:
    """Each worker's batches."""
    task = TextClassification(spec, tiny.store(spec))
    return [list(task.batches(split, epoch, Share(rank, world))) for rank in range(world)]


def counted(found: list[list[TextBatch]]) -> list[int]:
    return sorted(int(row) for worker in found for batch in worker for row in batch.id[batch.weight > 0])


def test_a_task_is_found_by_its_name() -> None:
    kind = find_task("text-classification")
    assert kind is find_task("text-classification")


def test_the_kind_prepares_opens_and_shows_an_empty_model(tiny: TinyJob) -> None:
    kind, spec = find_task("text-classification"), tiny.spec()
    store = kind.prepare(spec, JobFiles(UriRoots(tiny.root), tiny.root / "stores"))
    assert store == tiny.store(spec)
    empty, real = kind.empty_model(spec, store), kind.open(spec, store).build()
    assert [name for name, _ in empty.named_parameters()] == [name for name, _ in real.named_parameters()]
    assert all(tensor.is_meta for tensor in empty.parameters())


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_every_training_row_counts_once_an_epoch_over_workers_and_parts(tiny: TinyJob, world: int, parts: int) -> None:
    spec = tiny.spec({"training.gradientAccumulation": parts, "cluster.workersPerTrial": world})
    found = batches(tiny, spec, "train", world=world)
    task = TextClassification(spec, tiny.store(spec))
    assert counted(found) == sorted(task.rows["train"].id.tolist())
    assert {len(worker) for worker in found} == {task.steps_per_epoch() * parts}
    assert {len(batch.label) for worker in found for batch in worker} == {8 // parts // world}


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_held_out_row_counts_once_over_workers(tiny: TinyJob, world: int, split: str) -> None:
    spec = tiny.spec()
    rows = TextClassification(spec, tiny.store(spec)).rows[split]
    assert counted(batches(tiny, spec, split, world=world)) == sorted(rows.id.tolist())


def test_epochs_are_in_different_orders(tiny: TinyJob) -> None:
    def order(epoch: int) -> list[list[int]]:
        return [batch.id.tolist() for batch in batches(tiny, tiny.spec(), "train", epoch)[0]]

    assert order(0) == order(0)
    assert order(0) != order(1)


@pytest.mark.parametrize("left", [False, True])
def test_a_batch_is_padded_on_the_tokenizers_side_and_masked(tiny: TinyJob, left: bool) -> None:
    spec = tiny.spec()
    task = TextClassification(spec, tiny.store(spec))
    task.store.facts["padLeft"] = left
    for batch in task.batches("validation", 0, Share()):
        lengths = batch.attention_mask.sum(axis=1)
        for row, length in enumerate(lengths):
            span = slice(batch.input_ids.shape[1] - length, None) if left else slice(0, length)
            tokens = batch.input_ids[row, span]
            assert VOCABULARY[tokens[0]] == "[CLS]"
            assert VOCABULARY[tokens[-1]] == "[SEP]"
            assert batch.attention_mask[row, span].all()
            assert (batch.input_ids[row] == 0).sum() == batch.input_ids.shape[1] - length


def test_rows_that_fill_a_batch_up_count_nothing(tiny: TinyJob) -> None:
    spec = tiny.spec()
    task = TextClassification(spec, tiny.store(spec))
    model = task.build().eval()
    (batch, *_) = [each for each in task.batches("train", 0, Share()) if each.weight.min() == 0]
    loss, count = task.step(model, batch, CPU)
    assert count == batch.weight.sum() < len(batch.weight)
    filled = int(count)
    logits = model(
        input_ids=torch.from_numpy(batch.input_ids[:filled]),
        attention_mask=torch.from_numpy(batch.attention_mask[:filled]),
    ).logits
    expected = F.cross_entropy(logits, torch.from_numpy(batch.label[:filled]), reduction="sum")
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    with torch.no_grad():
        assert len(predict(task, model, batch, CPU)["id"]) == filled


def test_label_smoothing_is_in_the_training_loss_alone(tiny: TinyJob) -> None:
    plain, smooth = tiny.spec(), tiny.spec({"training.labelSmoothing": 0.4})
    model = tiny.task(plain).build().eval()
    batch = tiny.batch(plain, "validation")
    losses = [float(tiny.task(spec).step(model, batch, CPU)[0].detach()) for spec in (plain, smooth)]
    assert losses[0] != losses[1]
    with torch.no_grad():
        predictions = predict(tiny.task(plain), model, batch, CPU)
    assert tiny.task(plain).metrics(predictions, full=False) == tiny.task(smooth).metrics(predictions, full=True)


def test_padding_to_one_length_and_buckets_agree_on_every_row(tiny: TinyJob) -> None:
    model = tiny.task(tiny.spec()).build().eval()
    found: list[dict[int, Any]] = []
    for batching in ({"strategy": "bucket"}, {"strategy": "pad", "maxLength": 40}):
        spec = tiny.spec({"data.batching": batching})
        logits: dict[int, Any] = {}
        with torch.no_grad():
            for batch in TextClassification(spec, tiny.store(spec)).batches("test", 0, Share()):
                predictions = predict(tiny.task(spec), model, batch, CPU)
                logits |= dict(zip(predictions["id"].tolist(), predictions["logits"], strict=True))
        found.append(logits)
    assert found[0].keys() == found[1].keys()
    assert all(np.allclose(found[0][row], found[1][row], atol=1e-5) for row in found[0])


def test_details_are_the_confusion_with_the_labels_names(tiny: TinyJob) -> None:
    task = tiny.task(tiny.spec())
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    predictions = {"id": np.arange(3), "label": np.asarray([0, 1, 2]), "logits": logits}
    assert task.details(predictions) == {
        "confusion": {"labels": sorted(LABELS), "matrix": [[1, 0, 0], [0, 1, 0], [0, 1, 0]]}
    }


def test_an_export_has_weights_configuration_and_tokenizer(tiny: TinyJob, tmp_path: Path) -> None:
    task = tiny.task(tiny.spec())
    task.export(task.build(), tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in tmp_path.iterdir()}
