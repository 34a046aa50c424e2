"""Tiny models that read one text and write another, and pairs for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run, write_csv
from tests.unit.tiny_models import FAMILIES, VOCABULARY, WORDS
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.tasks.text_pairs import TextPairTask
from thaw_trainer.uris import UriRoots

END = 2
_LIKE_BART = FAMILIES["bart"] | {"encoder_layers": 3, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END}
_LIKE_T5 = {"pad_token_id": 0, "num_layers": 3}  # transformers' generate wants as many layers as the decoder has
PAIR_FAMILIES: dict[str, dict[str, Any]] = {
    "t5": FAMILIES["t5"] | _LIKE_T5,
    "umt5": FAMILIES["umt5"] | _LIKE_T5,
    "bart": _LIKE_BART | {"decoder_start_token_id": END, "forced_eos_token_id": END},
    "marian": _LIKE_BART | {"decoder_start_token_id": 0, "forced_eos_token_id": 0},
    "mbart": _LIKE_BART,
    "pegasus": _LIKE_BART | {"decoder_start_token_id": 0},
}
"""Settings of a tiny model of each family."""
NO_DROPOUT: dict[str, Any] = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "dropout_rate": 0.0}


def pairs(count: int = 80, seed: int = 0, longest: int = 14) -> list[tuple[str, str]]:
    """Different texts, each with what a rule makes of it: every second word, each replaced by its neighbour."""
    random = np.random.default_rng(seed)
    rows: dict[str, str] = {}
    while len(rows) < count:
        numbers = random.integers(len(WORDS), size=random.integers(2, longest))
        source = " ".join(WORDS[number] for number in numbers)
        rows[source] = " ".join(WORDS[(number + 1) % len(WORDS)] for number in numbers[::2])
    return list(rows.items())


def save_pair_tokenizer(folder: Path, ends: bool = True) -> None:
    """One token for each word; with `ends`, [SEP] behind each text."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    if ends:
        tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", END)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]")
    fast.save_pretrained(folder)


def save_writer(folder: Path, family: str = "t5", **changes: Any) -> Path:
    """A folder as the hub has them."""
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    own = PAIR_FAMILIES[family] | {"vocab_size": len(VOCABULARY)} | changes
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(family, **own))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" not in name:
                # Else it writes one token, and the same for every source.
                tensor.mul_(30 if "encoder_attn" in name else 3)
    model.save_pretrained(folder)
    save_pair_tokenizer(folder)
    return folder


class PairJob:
    """A folder with pairs and a model, and trials of it."""

    def __init__(self, root: Path, task: str = "translation", rows: Sequence[tuple[str, str]] = (), **model: Any):
        self.root, self.name = root, task
        roles = ("source", "target") if task == "translation" else ("text", "summary")
        write_csv(root / "train.csv", rows or pairs(), header=roles)
        save_writer(root / "model", **model)

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec: a batch of 8, 3 epochs; with changes by path."""
        own = {
            "task": self.name,
            "model.uri": "file:model",
            "data.train.uri": "file:train.csv",
            "data.split": {"validation": 0.2, "test": 0.1},
            "training.batchSize": 8,
            "training.epochs": 3,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        """Where it is."""
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> TextPairTask:
        """The task of a trial."""
        spec, kind = self.spec(changes), find_task(self.name)
        task = kind.open(spec, kind.prepare(spec, self.files))
        assert isinstance(task, TextPairTask)
        return task

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        """Runs a trial whose checkpoints are in a folder of that name."""
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)
