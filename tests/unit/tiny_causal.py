"""Tiny causal language models and texts for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.manifests import job
from tests.unit.tiny_jobs import TinyJob, snapshot
from tests.unit.tiny_models import FAMILIES, VOCABULARY, WORDS
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.causal_rows import prepare_store
from thaw_trainer.tasks.causal_lm import CausalBatch, CausalLm
from thaw_trainer.tasks.protocol import Share
from thaw_trainer.uris import UriRoots

END = 2
"""The token that ends a text."""
NO_DROPOUT: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
PACK: dict[str, Any] = {"data.batching": {"strategy": "pack", "maxLength": 40}}
FEW_TOKENS: dict[str, Any] = {"data.batching": {"tokensPerBatch": 128}}
PACKS = ("gpt2", "llama", "gemma2", "gpt_neox", "mistral", "phi", "qwen3")
"""Families whose rows are packed in tests."""
TEMPLATE = (
    "{% for message in messages %}[CLS] {{ message.role }} {{ message.content }} [SEP]\n{% endfor %}"
    "{% if add_generation_prompt %}[CLS] assistant {% endif %}"
)
MARKED = (
    "{% for message in messages %}[CLS] {{ message.role }} {% if message.role == 'assistant' %}{% generation %}"
    "{{ message.content }} [SEP]\n{% endgeneration %}{% else %}{{ message.content }} [SEP]\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[CLS] assistant {% endif %}"
)
ROLES = ["user", "assistant", "system"]


def documents(count: int = 60, seed: int = 0, longest: int = 30) -> list[str]:
    """Different texts of 2 to 30 words, in each of which a word says much of the next one."""
    random = np.random.default_rng(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        first, length = int(random.integers(len(WORDS))), int(random.integers(2, longest))
        noise = random.integers(0, 2, length)
        texts[" ".join(WORDS[(first + 3 * place + int(noise[place])) % len(WORDS)] for place in range(length))] = None
    return list(texts)


def save_causal_tokenizer(folder: Path, template: str | None = None, left: bool = False) -> None:
    """One token for each word and role; [SEP] ends a text."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = [*VOCABULARY, *ROLES]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]")
    fast.chat_template = template
    fast.padding_side = "left" if left else "right"
    fast.save_pretrained(folder)


def causal_model(family: str = "gpt2", **changes: Any) -> Any:
    """A tiny model of a family, in eval mode, its numbers seeded."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **(FAMILIES[family] | changes))
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def save_causal(folder: Path, family: str = "gpt2", **changes: Any) -> Path:
    """A folder as the hub has them."""
    causal_model(family, **({"vocab_size": len(VOCABULARY) + len(ROLES)} | changes)).save_pretrained(folder)
    save_causal_tokenizer(folder)
    return folder


def write_jsonl(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A table of one object a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


class WatchedCausal(CausalLm):
    """Remembers the module, and all tensors as each evaluation finds them."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.built: list[torch.nn.Module] = []
        self.snapshots: list[dict[str, torch.Tensor]] = []

    def build(self) -> torch.nn.Module:
        """See Task."""
        self.built.append(super().build())
        return self.built[-1]

    def batches(self, split: str, epoch: int, share: Share) -> Any:
        """See Task."""
        if split == "validation" and self.built:
            self.snapshots.append(snapshot(self.built[0]))
        return super().batches(split, epoch, share)


class CausalJob(TinyJob):
    """A folder with texts and a causal model, and trials of it."""

    def __init__(self, root: Path, rows: Sequence[dict[str, Any]] | None = None, **model: Any) -> None:
        self.root = root
        write_jsonl(root / "train.jsonl", rows or [{"text": text} for text in documents()])
        save_causal(root / "model", **model)

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec: a batch of 8, 3 epochs; with changes by path."""
        own = {
            "task": "causal-lm",
            "model.uri": "file:model",
            "data.train.uri": "file:train.jsonl",
            "data.split": {"validation": 0.2, "test": 0.1},
            "training.batchSize": 8,
            "training.epochs": 3,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    def store(self, spec: FineTuneJobSpec) -> Path:
        """The prepared store of a spec."""
        return prepare_store(spec, UriRoots(self.root), self.root / "stores").folder

    def task(self, spec: FineTuneJobSpec) -> Any:
        """The task of a trial."""
        return WatchedCausal(spec, self.store(spec))

    def every(self, spec: FineTuneJobSpec, split: str = "train", **share: int) -> list[CausalBatch]:
        """All batches of a split."""
        return list(CausalLm(spec, self.store(spec)).batches(split, 0, Share(**share)))
