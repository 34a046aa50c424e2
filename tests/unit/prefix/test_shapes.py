"""200 steps of training with a replayed prefix give the same losses, to the last bit, as computing it: for text, images
and speech, through entries on disk and the loop's own order of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thaw_trainer.data.batches import BatchPlan, plan_batches, plan_epoch
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import FrozenPolicy, set_trainable
from thaw_trainer.prefix.entry import Entry, EntryFacts
from thaw_trainer.prefix.fill import fill
from thaw_trainer.prefix.replay import Replay
from thaw_trainer.prefix.survey import survey

STEPS, ROWS, BATCH = 200, 48, 8
_TEXT = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}


def bert() -> Any:
    from transformers import AutoModelForSequenceClassification, BertConfig

    return AutoModelForSequenceClassification.from_config(BertConfig(**_TEXT, vocab_size=50, num_labels=3))


def gpt2() -> Any:
    from transformers import AutoModelForSequenceClassification, GPT2Config

    sizes = {"n_embd": 32, "n_layer": 4, "n_head": 2, "vocab_size": 50}
    config = GPT2Config(**sizes, num_labels=3, pad_token_id=0, bos_token_id=1, eos_token_id=2, use_cache=False)
    return AutoModelForSequenceClassification.from_config(config)


def vit() -> Any:
    from transformers import AutoModelForImageClassification, ViTConfig

    return AutoModelForImageClassification.from_config(ViTConfig(**_TEXT, image_size=32, patch_size=8, num_labels=3))


def resnet() -> Any:
    from transformers import AutoModelForImageClassification, ResNetConfig

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    return AutoModelForImageClassification.from_config(ResNetConfig(**sizes, num_labels=3))


def wav2vec2() -> Any:
    """With layer norm: group norm would look over the padding."""
    from transformers import AutoModelForAudioClassification, Wav2Vec2Config

    convolutions = {"conv_dim": [16, 16], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    still = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "mask_time_prob": 0.0, "layerdrop": 0.0}
    return AutoModelForAudioClassification.from_config(
        Wav2Vec2Config(**_TEXT, **convolutions, **positions, **still, num_labels=3)
    )


def texts(random: np.random.Generator) -> tuple[Callable[[BatchPlan], dict[str, torch.Tensor]], np.ndarray[Any, Any]]:
    """Ragged rows of tokens, padded to their class."""
    lengths = random.integers(3, 24, ROWS)
    rows = [random.integers(3, 50, length) for length in lengths]

    def collate(plan: BatchPlan) -> dict[str, torch.Tensor]:
        ids = np.zeros((len(plan.rows), plan.width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(plan.rows):
            ids[place, : lengths[row]] = rows[row]
            mask[place, : lengths[row]] = 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    return collate, lengths


def images(random: np.random.Generator) -> tuple[Callable[[BatchPlan], dict[str, torch.Tensor]], np.ndarray[Any, Any]]:
    """Images of one size."""
    pixels = torch.from_numpy(random.normal(size=(ROWS, 3, 32, 32)).astype(np.float32))
    return lambda plan: {"pixel_values": pixels[plan.rows]}, np.full(ROWS, 8)


def sounds(random: np.random.Generator) -> tuple[Callable[[BatchPlan], dict[str, torch.Tensor]], np.ndarray[Any, Any]]:
    """Waves of the lengths of their class."""
    waves = torch.from_numpy(random.normal(size=(ROWS, 2400)).astype(np.float32))
    return lambda plan: {"input_values": waves[plan.rows, : 100 * plan.width]}, random.integers(9, 24, ROWS)


def losses(
    model: nn.Module,
    collate: Callable[[BatchPlan], dict[str, torch.Tensor]],
    lengths: np.ndarray[Any, Any],
    widths: np.ndarray[Any, Any],
    entry: Entry | None,
    replay: Replay | None,
) -> list[float]:
    """Losses of 200 steps in train mode, with dropout."""
    labels = torch.from_numpy(lengths % 3)
    trained = [tensor for tensor in model.parameters() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    told: list[float] = []
    epoch = 0
    while len(told) < STEPS:
        torch.manual_seed(epoch)
        model.train()
        for plan in plan_epoch(lengths, widths, BATCH, (epoch,)):
            if entry is not None and replay is not None:
                facts = entry.facts.classes[plan.width]
                device = torch.device("cpu")
                with replay.giving(facts.structures, entry.get(plan, device), device):
                    logits = model(**collate(plan)).logits
            else:
                logits = model(**collate(plan)).logits
            loss = F.cross_entropy(logits, labels[plan.rows])
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            told.append(loss.item())
        epoch += 1
    return told[:STEPS]


@pytest.mark.parametrize(
    ("build", "rows", "blocks"),
    [
        (bert, texts, 1),
        (bert, texts, 2),
        (gpt2, texts, 1),
        (vit, images, 1),
        (resnet, images, 1),
        (wav2vec2, sounds, 1),
    ],
    ids=["bert", "bert-2", "gpt2", "vit", "resnet", "wav2vec2"],
)
def test_the_same_losses_to_the_last_bit(build: Any, rows: Any, blocks: int, tmp_path: Path) -> None:
    collate, lengths = rows(np.random.default_rng(0))
    widths = np.asarray([8]) if rows is images else np.asarray([8, 16, 24])
    told = {}
    for cached in (False, True):
        torch.manual_seed(0)
        model = build()
        layout = find_layout(model)
        boundary = layout.blocks - blocks
        sweep = plan_batches(lengths, widths, BATCH)
        entry = replay = None
        if cached:
            model.eval()
            with torch.inference_mode():

                def run(plan: BatchPlan, model: nn.Module = model) -> Any:
                    return model(**collate(plan))

                found = survey(model, layout, [boundary], "train", sweep, run)[boundary]
                assert isinstance(found, EntryFacts)
                Entry.lay_out(tmp_path / "entry", found)
                entry = Entry(tmp_path / "entry", sweep)
                fill(model, [entry], run)
            names = {name for facts in entry.facts.classes.values() for name in facts.structures}
            replay = Replay(model, names)
        set_trainable(model, layout, select(layout, ["head", f"blocks[-{blocks}:]"], ""), FrozenPolicy())
        told[cached] = losses(model, collate, lengths, widths, entry, replay)
    assert told[True] == told[False]
    assert len(set(told[True])) > STEPS // 2
