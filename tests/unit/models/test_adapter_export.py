"""A trained adapter is exported twice: merged, for transformers alone, and in peft's layout."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, ResNetConfig

from tests.unit.models.test_adapter import METHODS, model_spec, shake
from tests.unit.tasks.pair_verification import Encoder
from tests.unit.tiny_jobs import TinyJob
from tests.unit.tiny_models import token_ids
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.models.adapter import adapter_layers, with_adapter
from thaw_trainer.models.adapter_export import export_model, head_modules

FAMILIES = ("bert", "gpt2", "roberta", "distilbert", "llama", "deberta-v2")


def exported(root: Path, family: str, **adapter: Any) -> tuple[torch.Tensor, Path, TinyJob]:
    """What a model with a trained adapter says, and the folder that it was exported to."""
    tiny = TinyJob(root / "job", family=family)
    rank = {} if adapter["method"] == "ia3" else {"rank": 2}
    spec = tiny.spec({"model.adapter": rank | adapter})
    task = tiny.task(spec)
    model = pristine_model(task, spec).eval()
    shake(model)
    with torch.no_grad():
        for name in find_layout(model).names(-1, 99):
            model.get_parameter(name).add_(0.05)
        said = model(input_ids=ids()).logits
    export_model(task, model, spec.model, root / "out")
    return said, root / "out", tiny


def ids() -> torch.Tensor:
    return token_ids(rows=4) % 16


@torch.no_grad()
def said_by(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(input_ids=ids()).logits
    return logits


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_merged_model_says_the_same_by_transformers_alone(tmp_path: Path, family: str, method: str) -> None:
    said, folder, tiny = exported(tmp_path, family, method=method)
    loaded, found = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert torch.allclose(said_by(loaded), said, atol=1e-5)
    plain = pristine_model(tiny.task(tiny.spec()), tiny.spec())
    assert not torch.allclose(said_by(plain), said, atol=1e-2), "it was trained"
    assert loaded.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_adapter_and_head_onto_the_base(tmp_path: Path, family: str, method: str) -> None:
    said, folder, tiny = exported(tmp_path, family, method=method)
    base = AutoModelForSequenceClassification.from_pretrained(tiny.root / "model", num_labels=3)
    if base.config.pad_token_id is None:
        base.config.pad_token_id = 0
    loaded = PeftModel.from_pretrained(base, str(folder / "adapter"))
    assert torch.allclose(said_by(loaded), said, atol=1e-5)
    saved = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) < 0.5 * sum(p.numel() for p in base.parameters())


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_convolutions_are_merged_too(tmp_path: Path, method: str) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], layer_type="basic", num_labels=3)
    torch.manual_seed(0)
    spec = model_spec(method, targets=["convolution"])
    model = with_adapter(AutoModelForImageClassification.from_config(config), spec).eval()
    pixels = torch.randn(2, 3, 32, 32)
    before = model(pixels).logits
    shake(model)
    said = model(pixels).logits
    assert not torch.allclose(said, before, atol=1e-2)
    export_model(SavesNothing(), model, spec, tmp_path)  # type: ignore[arg-type]
    assert torch.allclose(model(pixels).logits, said, atol=1e-5)
    torch.manual_seed(0)
    base = AutoModelForImageClassification.from_config(config)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    assert torch.allclose(loaded(pixels).logits, said, atol=1e-5)


def test_an_adapter_of_a_few_layers_is_found_again(tmp_path: Path) -> None:
    said, folder, tiny = exported(tmp_path, "bert", method="lora", targets=["dense"], alpha=3.5)
    base = AutoModelForSequenceClassification.from_pretrained(tiny.root / "model", num_labels=3)
    assert torch.allclose(said_by(PeftModel.from_pretrained(base, str(folder / "adapter"))), said, atol=1e-5)


def test_the_configuration_is_the_same_bytes_and_names_the_hubs_model(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        model = with_adapter(Encoder(), model_spec())
        spec = model_spec().model_copy(update={"uri": "hf://org/name@abc"})
        export_model(SavesNothing(), model, spec, tmp_path / name)  # type: ignore[arg-type]
        texts.append((tmp_path / name / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    config = json.loads(texts[0])
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/name", "abc")
    assert config["target_modules"] == ["blocks.0.0", "blocks.1.0", "blocks.2.0"]
    assert config["modules_to_save"] == ["head", "norm"]


class SavesNothing:
    """A task whose export is of no interest."""

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task."""


def test_the_folder_of_a_model_without_an_adapter_has_none(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path / "job")
    task, spec = tiny.task(tiny.spec()), tiny.spec()
    export_model(task, pristine_model(task, spec), spec.model, tmp_path / "out")
    assert not (tmp_path / "out" / "adapter").exists()
    assert (tmp_path / "out" / "model.safetensors").is_file()


class Raw(Encoder):
    """A head that is a tensor of the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.head_scale = nn.Parameter(torch.ones(1))


class Namesake(Encoder):
    """A module of the stem ends as the head is called."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"forehead": nn.Linear(8, 16)})  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Raw, "the model holds tensors of the head beside others"), (Namesake, "ends as a module of the head is called")],
)
def test_a_head_that_peft_would_not_find_is_told_and_the_adapter_left_out(
    kind: type[Encoder], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = with_adapter(kind(), model_spec())
    layout = find_layout(model)
    assert reason in head_modules(model, layout.names(layout.blocks, layout.blocks))
    with caplog.at_level(logging.WARNING, "thaw.adapter"):
        export_model(SavesNothing(), model, model_spec(), tmp_path)  # type: ignore[arg-type]
    assert reason in caplog.text
    assert not (tmp_path / "adapter").exists()
    assert adapter_layers(model) == [], "it is merged all the same"
