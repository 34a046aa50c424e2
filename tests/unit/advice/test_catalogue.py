"""The catalogue's counts are those of the networks that transformers builds, and its costs those that torch counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.advice.hub_configs import CONFIGS, built
from thaw_api.tasks import TASKS
from thaw_trainer.advice.catalogue import CATALOGUE, Listed, listed
from thaw_trainer.advice.cost import cost_of
from thaw_trainer.advice.work import Stretch, Work
from thaw_trainer.freezing.layout import find_layout

NAMES = [each.uri for each in CATALOGUE]
OUTPUT_LAYERS = ("classifier.", "class_labels_classifier.")
HEADS = {"ViTForImageClassification", "ResNetForImageClassification"}
"""Classes whose new head is no part of what the catalogue counts."""


@pytest.mark.parametrize("model", CATALOGUE, ids=NAMES)
def test_numbers_of_stem_blocks_and_head_are_those_of_the_network(model: Listed) -> None:
    network = built(model.uri)
    layout = find_layout(network)
    new = type(network).__name__ in HEADS
    sizes = {name: tensor.numel() for name, tensor in network.named_parameters()}
    counted = sum(size for name, size in sizes.items() if not (new and name.startswith(OUTPUT_LAYERS)))
    assert model.shape.parameters == pytest.approx(counted, rel=1e-4)
    assert model.shape.blocks == layout.blocks
    in_blocks = sum(layout.size[name] for name in layout.names(0, layout.blocks - 1))
    assert sum(stack.blocks * stack.parameters for stack in model.shape.stacks) == pytest.approx(in_blocks, rel=1e-4)


@pytest.mark.parametrize("model", CATALOGUE, ids=NAMES)
def test_widths_are_those_of_the_configuration(model: Listed) -> None:
    config: Any = built(model.uri).config
    assert config.model_type == model.family
    if model.shape.stacks[-1].macs:
        return
    width = next(getattr(config, n) for n in ("hidden_size", "d_model", "dim", "n_embd") if hasattr(config, n))
    assert model.shape.stacks[-1].hidden == width
    if model.shape.vocabulary:
        assert model.shape.vocabulary == config.vocab_size


# BART and Marian ask for a number of a tensor, which none on the meta device has.
COUNTED = (
    ("google-bert/bert-base-uncased", 0.02),
    ("distilbert-base-uncased", 0.02),
    ("FacebookAI/roberta-base", 0.02),
    ("openai-community/gpt2", 0.02),
    ("SmolLM2-135M", 0.03),
    ("t5-small", 0.05),
    ("vit-base-patch16-224", 0.02),
    ("resnet-18", 0.02),
    ("resnet-50", 0.02),
    ("wav2vec2-base", 0.02),
    ("whisper-tiny", 0.05),
    ("10-10-0.4593", 0.03),
)
LENGTH, TARGET, SECONDS = 128, 48, 10


@pytest.mark.filterwarnings("ignore:mods argument")
@pytest.mark.parametrize(("end", "tolerance"), COUNTED)
def test_the_forwards_operations_are_those_that_torch_counts(end: str, tolerance: float) -> None:
    model = next(each for each in CATALOGUE if each.uri.endswith(end))
    network = built(model.uri).requires_grad_(False)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter:
        ids, target = (torch.zeros(1, length, dtype=torch.long) for length in (LENGTH, TARGET))
        if model.family in ("vit", "resnet"):
            network(torch.zeros(1, 3, 224, 224))
        elif model.family == "wav2vec2":
            network(torch.zeros(1, 16000 * SECONDS))
        elif model.family == "whisper":
            network(torch.zeros(1, 80, 3000), decoder_input_ids=target)
        elif model.family == "audio-spectrogram-transformer":
            network(torch.zeros(1, 1024, 128))
        elif model.shape.stacks[-1].reads == "target":
            network(input_ids=ids, decoder_input_ids=target)
        else:
            network(input_ids=ids)
    length = SECONDS if model.family == "wav2vec2" else LENGTH
    # The cache's one pass over blocks that are all frozen, and the output layer, is the forward.
    work = Work(1, length, TARGET, (Stretch(1.0, "head"),), cached=False)
    written = model.shape.vocabulary * model.shape.stacks[-1].hidden
    written *= TARGET if model.shape.stacks[-1].reads == "target" else LENGTH
    estimate = cost_of(model.shape, work).operations - 2 * written
    assert estimate == pytest.approx(counter.get_total_flops(), rel=tolerance)


def test_every_model_has_a_configuration_to_compare_with_and_every_task_that_reads_rows_a_model() -> None:
    assert set(NAMES) == set(CONFIGS)
    assert len(set(NAMES)) == len(NAMES)
    assert {task for task in TASKS if not listed(task)} == {"reinforcement-learning"}
    for task in TASKS:
        sizes = [each.shape.parameters for each in listed(task)]
        assert sizes == sorted(sizes)
