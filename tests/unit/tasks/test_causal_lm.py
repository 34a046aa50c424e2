"""Causal language models: every number is compared with plain transformers on each text alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.predicting import by_workers
from tests.unit.tiny_causal import FEW_TOKENS, PACK, PACKS, TEMPLATE, CausalJob, documents, save_causal_tokenizer
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import predict_split
from thaw_trainer.models.pretrained import load_tokenizer
from thaw_trainer.tasks.causal_lm import CausalLm
from thaw_trainer.tasks.protocol import Share, predict

CPU = torch.device("cpu")
BATCHINGS: dict[str, dict[str, Any]] = {
    "bucket": {},
    "pad": {"data.batching": {"strategy": "pad", "maxLength": 40}},
    "pack": PACK,
    "few-tokens": FEW_TOKENS,
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CausalJob]:
    """Jobs that no test changes."""
    root = tmp_path_factory.mktemp("jobs")
    return {family: CausalJob(root / family, family=family) for family in PACKS}


def alone(model: Any, texts: list[list[int]]) -> tuple[list[float], list[int]]:
    """Each text's summed loss and how many of its tokens are the likeliest ones, by transformers without thaw."""
    losses, hits = [], []
    for ids in texts:
        row = torch.tensor([ids])
        with torch.no_grad():
            found = model(input_ids=row, labels=row)
        losses.append(float(found.loss) * (len(ids) - 1))
        hits.append(int((found.logits[0, :-1].argmax(dim=-1) == row[0, 1:]).sum()))
    return losses, hits


def encoded(job: CausalJob, texts: list[str]) -> list[list[int]]:
    """Texts as tokens, the end of a text included."""
    tokenizer = load_tokenizer(job.root / "model")
    return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]


def plain_model(job: CausalJob) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(job.root / "model").eval()


def texts_in(task: CausalLm, split: str, row: int) -> list[list[int]]:
    """Token ids of each text of a row of the store."""
    table = task.store.table(split)
    ids, lengths = np.asarray(table["input_ids"][row].as_py()), table["lengths"][row].as_py()
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]


@pytest.mark.parametrize("family", PACKS)
@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_rows_loss_is_that_of_its_texts_each_alone(jobs: dict[str, CausalJob], family: str, batching: str) -> None:
    job = jobs[family]
    task: CausalLm = job.task(job.spec(BATCHINGS[batching]))
    model, plain = task.build().eval(), plain_model(job)
    tokens = 0
    for batch in task.batches("train", 0, Share()):
        with torch.no_grad():
            outputs = task.outputs(model, batch, CPU)
            loss, count = task.step(model, batch, CPU)
        predictions = task.predictions(batch, outputs)
        assert float(loss) == pytest.approx(predictions["loss"].sum(), rel=1e-5)
        assert count == predictions["tokens"].sum()
        for place, row in enumerate(batch.plan.rows[: batch.plan.filled]):
            losses, hits = alone(plain, texts_in(task, "train", row))
            assert predictions["loss"][place] == pytest.approx(sum(losses), abs=1e-5 * predictions["tokens"][place])
            assert predictions["hits"][place] == sum(hits)
        tokens += int(count)
    assert tokens == task.store.facts["tokens"]["train"]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_metrics_are_means_over_all_tokens_of_the_split(jobs: dict[str, CausalJob], batching: str) -> None:
    job = jobs["gpt2"]
    spec = job.spec(BATCHINGS[batching])
    task: CausalLm = job.task(spec)
    texts = [text for row in range(len(task.rows["test"].id)) for text in texts_in(task, "test", row)]
    losses, hits = alone(plain_model(job), texts)
    tokens = sum(len(text) - 1 for text in texts)
    predictions = predict_split(task.build(), task, "test", Gang(), spec.training)
    assert predictions is not None
    found = task.metrics(predictions, full=True)
    assert found["loss"] == pytest.approx(sum(losses) / tokens, abs=1e-6)
    assert found["perplexity"] == pytest.approx(np.exp(sum(losses) / tokens), rel=1e-6)
    assert found["accuracy"] == sum(hits) / tokens
    assert task.details(predictions) == {"tokens": tokens}


def test_predictions_of_workers_are_those_of_one(jobs: dict[str, CausalJob]) -> None:
    task: CausalLm = jobs["gpt2"].task(jobs["gpt2"].spec())
    model = task.build().eval()
    by_world = [by_workers(task, model, "validation", world) for world in (1, 3)]
    assert all(np.array_equal(by_world[0][name], by_world[1][name]) for name in ("id", "tokens", "loss", "hits"))


def test_the_side_that_a_tokenizer_pads_on_makes_no_difference(tmp_path: Path) -> None:
    job = CausalJob(tmp_path)
    save_causal_tokenizer(tmp_path / "model", left=True)
    task: CausalLm = job.task(job.spec())
    model, plain = task.build().eval(), plain_model(job)
    (batch, *_) = task.batches("validation", 0, Share())
    with torch.no_grad():
        found = task.outputs(model, batch, CPU)["loss"]
    wanted = [alone(plain, texts_in(task, "validation", row))[0][0] for row in batch.plan.rows[: batch.plan.filled]]
    assert found[: batch.plan.filled].tolist() == pytest.approx(wanted, abs=1e-4)


def test_rows_that_fill_a_batch_up_count_nothing(jobs: dict[str, CausalJob]) -> None:
    task: CausalLm = jobs["gpt2"].task(jobs["gpt2"].spec())
    batch = next(batch for batch in task.batches("train", 0, Share()) if batch.weight.min() == 0)
    assert batch.rows.max() < batch.plan.filled
    with torch.no_grad():
        assert len(predict(task, task.build().eval(), batch, CPU)["id"]) == batch.plan.filled


def test_the_head_computes_what_counts_and_nothing_else(tmp_path: Path) -> None:
    rows = [{"prompt": text, "completion": " red green"} for text in documents()]
    job = CausalJob(tmp_path, rows)
    task: CausalLm = job.task(job.spec())
    model: Any = task.build().eval()
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _, __, output: seen.append(output.shape[0]))
    (batch, *_) = task.batches("train", 0, Share())
    task.step(model, batch, CPU)
    assert seen == [3 * batch.plan.filled], "of each row: red, green and the end"


def test_label_smoothing_is_in_the_training_loss_alone(jobs: dict[str, CausalJob]) -> None:
    job = jobs["gpt2"]
    plain, smooth = (job.task(job.spec({"training.labelSmoothing": each})) for each in (0.0, 0.4))
    (batch, *_) = plain.batches("validation", 0, Share())
    model = plain.build().eval()
    assert float(plain.step(model, batch, CPU)[0].detach()) != float(smooth.step(model, batch, CPU)[0].detach())
    outputs = [task.outputs(model, batch, CPU)["loss"] for task in (plain, smooth)]
    assert torch.equal(*outputs)


def test_an_export_gives_the_same_loss_by_transformers_alone(jobs: dict[str, CausalJob], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job = jobs["llama"]
    task: CausalLm = job.task(job.spec())
    model = task.build().eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.01)
    task.export(model, tmp_path)
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.config.use_cache
    (batch, *_) = task.batches("test", 0, Share())
    with torch.no_grad():
        found = task.outputs(model, batch, CPU)["loss"][: batch.plan.filled]
    texts = [tokenizer.decode(texts_in(task, "test", row)[0]) for row in batch.plan.rows[: batch.plan.filled]]
    wanted, _ = alone(loaded, [tokenizer(text)["input_ids"] for text in texts])
    assert found.tolist() == pytest.approx(wanted, abs=1e-4)


def test_samples_are_beginnings_of_test_rows_what_the_model_says_and_how_they_go_on(
    jobs: dict[str, CausalJob],
) -> None:
    job = jobs["gpt2"]
    task: CausalLm = job.task(job.spec())
    samples = task.samples(task.build().eval(), CPU)
    assert len(samples) == 3
    tokenizer = load_tokenizer(job.root / "model")
    texts = [tokenizer.decode(texts_in(task, "test", row)[0]) for row in range(6)]
    for sample in samples:
        assert sample.keys() == {"prompt", "model", "text"}
        assert any(text.startswith(f"{sample['prompt']} {sample['text']}") for text in texts)


def test_a_chats_samples_begin_where_the_assistant_speaks(tmp_path: Path) -> None:
    chats = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "red green"}]}
        for text in documents(30, longest=8)
    ]
    job = CausalJob(tmp_path, chats)
    save_causal_tokenizer(tmp_path / "model", TEMPLATE)
    task: CausalLm = job.task(job.spec())
    (sample, *_) = task.samples(task.build().eval(), CPU)
    assert sample["prompt"].endswith("assistant")
    assert sample["text"] == "red green"
