"""Which models are causal language models, which can read packed rows, and what their head is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.unit.tiny_causal import PACK, PACKS, CausalJob, causal_model
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models import causal_lm


def test_a_family_whose_texts_see_each_other_is_not_packed(tmp_path: Path) -> None:
    job = CausalJob(tmp_path, family="bloom")
    job.task(job.spec()).build()
    with pytest.raises(TrainerError, match=r"bloom cannot read packed rows: .*; use bucket") as caught:
        job.task(job.spec(PACK)).build()
    assert caught.value.field == "spec.data.batching.strategy"


@pytest.mark.parametrize("family", [*PACKS, "qwen2"])
def test_families_whose_texts_do_not_see_each_other_are_known_as_such(family: str) -> None:
    assert causal_lm.dependence_on_other_texts(causal_model(family)) is None


def test_a_model_that_sees_what_follows_is_no_causal_language_model(tmp_path: Path) -> None:
    job = CausalJob(tmp_path, family="bert")
    with pytest.raises(TrainerError, match="bert is no causal language model") as caught:
        job.task(job.spec()).build()
    assert caught.value.field == "spec.model.uri"


def test_weights_without_a_language_models_head_are_refused(tmp_path: Path) -> None:
    from transformers import AutoModel

    job = CausalJob(tmp_path, family="llama", tie_word_embeddings=False)
    AutoModel.from_config(causal_model("llama", vocab_size=19).config).save_pretrained(tmp_path / "model")
    with pytest.raises(TrainerError, match=r"lack 1 tensors, or .*lm_head.weight"):
        job.task(job.spec()).build()


def test_a_dropout_before_the_head_is_refused(tmp_path: Path) -> None:
    job = CausalJob(tmp_path)
    with pytest.raises(TrainerError) as caught:
        job.task(job.spec({"model.head": {"dropout": 0.1}})).build()
    assert caught.value.field == "spec.model.head.dropout"


@pytest.mark.parametrize(
    ("tied", "head"), [(True, {"ln_f.weight", "ln_f.bias"}), (False, {"ln_f.weight", "ln_f.bias", "lm_head.weight"})]
)
def test_the_head_is_the_last_norm_and_the_output_layer_unless_it_is_tied(tied: bool, head: set[str]) -> None:
    layout = find_layout(causal_model("gpt2", tie_word_embeddings=tied))
    assert {name.removeprefix("transformer.") for name in layout.names(layout.blocks, layout.blocks)} == head


def test_a_random_model_needs_no_weights(tmp_path: Path) -> None:
    job = CausalJob(tmp_path)
    (tmp_path / "model" / "model.safetensors").unlink()
    spec: FineTuneJobSpec = job.spec({"model.init": "random"})
    assert find_layout(job.task(spec).build()).blocks == 3


def test_the_proofs_of_a_model_leave_it_as_it_was() -> None:
    model = causal_model("gpt2").train()
    state = torch.get_rng_state()
    assert causal_lm.dependence_on_what_follows(model) is None
    assert causal_lm.dependence_on_other_texts(model) is None
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
