"""QLoRA on a CPU: what is held in four bits, what is trained, what is exported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from tests.unit.models.test_adapter import model_spec, names_of_layers, shake
from tests.unit.prefix.sites import site
from tests.unit.tiny_causal import CausalJob
from tests.unit.tiny_jobs import run
from tests.unit.tiny_models import family_model, token_ids
from thaw_trainer.errors import LIBRARY_MISSING, TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.models.adapter import adapter_layers, is_adapters, with_adapter
from thaw_trainer.models.adapter_export import export_model
from thaw_trainer.models.four_bits import dequantize, is_four_bits, quantize

QLORA: dict[str, Any] = {"model.adapter": {"method": "qlora", "rank": 2}}
FIELD = "spec.model.adapter.method"


@pytest.fixture
def job(tmp_path: Path) -> CausalJob:
    pytest.importorskip("bitsandbytes")
    return CausalJob(tmp_path / "job", family="llama")


def ids() -> torch.Tensor:
    return token_ids() % 16


@torch.no_grad()
def said_by(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(input_ids=ids()).logits
    return logits


def weights_in_four_bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.weight.detach().clone() for name, each in model.named_modules() if is_four_bits(each)}


def test_every_linear_layer_of_the_blocks_is_held_in_four_bits_and_has_an_adapter(job: CausalJob) -> None:
    spec, plain = job.spec(QLORA), job.spec({"model.adapter": {"method": "lora", "rank": 2}})
    model, other = pristine_model(job.task(spec), spec), pristine_model(job.task(plain), plain)
    assert names_of_layers(model) == names_of_layers(other)
    held = weights_in_four_bits(model)
    assert list(held) == [f"{name}.base_layer" for name in names_of_layers(model)]
    assert {tensor.dtype for tensor in held.values()} == {torch.uint8}
    for name, layer in adapter_layers(model):
        numbers = layer.get_base_layer().in_features * layer.get_base_layer().out_features
        assert held[f"{name}.base_layer"].numel() == numbers / 2
    layout, wanted = find_layout(model), find_layout(other)
    assert (layout.size, layout.place, layout.fixed) == (wanted.size, wanted.place, wanted.fixed)
    assert layout.total == wanted.total
    empty = with_adapter(job.task(spec).build().to("meta"), spec.model)
    assert find_layout(empty).place == layout.place


def test_targets_choose_adapters_and_the_rest_of_the_blocks_is_in_four_bits_all_the_same(job: CausalJob) -> None:
    spec = job.spec({"model.adapter": {"method": "qlora", "targets": ["q_proj"]}})
    model = pristine_model(job.task(spec), spec)
    assert all(name.endswith("q_proj") for name in names_of_layers(model))
    assert len(weights_in_four_bits(model)) > len(names_of_layers(model))


def test_training_moves_the_adapter_alone_and_the_loss_falls(job: CausalJob, tmp_path: Path) -> None:
    spec = job.spec(QLORA | {"training.epochs": 4, "training.optimizer": {"lr": 0.02}})
    task: Any = job.task(spec)
    told = run(task, spec, tmp_path / "run")
    first, last = task.snapshots[0], task.snapshots[-1]
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert {name for name in moved if is_adapters(name)}
    assert not {name for name in moved if ".layers." in name and not is_adapters(name)}
    pristine = weights_in_four_bits(pristine_model(job.task(spec), spec))
    after = {name: last[f"{name}.weight"] for name in pristine}
    assert all(torch.equal(pristine[name], after[name]) for name in pristine)
    assert told.reports[-1]["train_loss"] < 0.9 * told.reports[0]["train_loss"]


def test_a_cached_prefix_gives_the_same_bits(job: CausalJob, tmp_path: Path) -> None:
    spec = job.spec(QLORA | {"freezing": {"preset": "last-n", "depth": 1, "cache": {"mode": "always"}}})
    cached = run(job.task(spec), spec, tmp_path / "cached", prefix=site(job, spec, tmp_path / "cache"))
    computed = run(job.task(spec), spec, tmp_path / "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[0]["prefix"]["blocks"] >= 1


def test_what_is_exported_says_what_was_trained(job: CausalJob, tmp_path: Path) -> None:
    spec = job.spec(QLORA)
    task = job.task(spec)
    model = pristine_model(task, spec)
    untrained = said_by(model)
    shake(model)
    said = said_by(model)
    assert not torch.allclose(said, untrained, atol=1e-2)
    export_model(task, model, spec.model, tmp_path / "out")
    merged, found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert torch.allclose(said_by(merged), said, atol=1e-5)
    base: Any = AutoModelForCausalLM.from_pretrained(job.root / "model")
    layers = [name for name, module in base.named_modules() if isinstance(module, nn.Linear) and ".layers." in name]
    quantize(base, layers, FIELD)
    base.is_loaded_in_4bit = True
    assert torch.allclose(said_by(PeftModel.from_pretrained(base, str(tmp_path / "out" / "adapter"))), said, atol=1e-5)


def test_a_layer_computes_with_the_nearest_of_sixteen_numbers_of_each_block_of_weights() -> None:
    """NF4's levels by the paper's appendix E, scaled by each 64 weights' largest."""
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32))
    exact = model.get_parameter("0.weight").detach().clone()
    below = [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0]
    above = [0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0]
    levels = torch.tensor([*below, *above])
    largest = exact.abs().amax(1, keepdim=True)
    wanted = levels[((exact / largest)[..., None] - levels).abs().argmin(-1)] * largest
    quantize(model, ["0"], FIELD)
    dequantize(model)
    # The largest ones are themselves held in eight bits.
    assert torch.allclose(model.get_parameter("0.weight"), wanted, atol=2e-3)


def test_a_model_whose_layers_are_of_another_kind_is_refused() -> None:
    with pytest.raises(TrainerError, match="has no linear layer in its blocks that can be held in four bits") as caught:
        with_adapter(family_model("gpt2").to("meta"), model_spec("qlora"))
    assert caught.value.field == FIELD


def test_without_the_library_it_is_refused_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(TrainerError, match=r"pip install 'thaw\[qlora\]'") as caught:
        with_adapter(family_model("llama").to("meta"), model_spec("qlora"))
    assert (caught.value.reason, caught.value.field) == (LIBRARY_MISSING, FIELD)


@pytest.mark.parametrize("family", ["t5", "mt5", "umt5", "bert", "bart"])
def test_a_model_in_four_bits_computes_nearly_what_it_did_and_its_adapters_have_gradients(family: str) -> None:
    """T5 brings what its last feed-forward layer reads to the type of that layer's weight."""
    pytest.importorskip("bitsandbytes")
    model, tokens = family_model(family), 5 + token_ids() % 16
    end: Any = getattr(model.config, "eos_token_id", None)
    tokens[:, -1] = 1 if end is None else end  # where some heads look
    inputs = {"input_ids": tokens}
    plain = model.eval()(**inputs).logits.detach()
    small = with_adapter(model, model_spec("qlora"))
    shake(small)
    logits = small.train()(**inputs).logits
    torch.autograd.backward(logits.sum())
    reached = [name for name, tensor in small.named_parameters() if is_adapters(name) and tensor.grad is not None]
    assert len(reached) == sum(is_adapters(name) for name, _ in small.named_parameters())
    with torch.no_grad():
        for name, tensor in small.named_parameters():
            if "lora_B" in name:
                tensor.zero_()
        found = small.eval()(**inputs).logits
    assert torch.nn.functional.cosine_similarity(found.flatten(), plain.flatten(), dim=0) > 0.95
