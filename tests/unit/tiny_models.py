"""Tiny pretrained models: transformers families made from configurations, and folders that hold one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import nn

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
WORDS = ["red", "green", "blue", "warm", "cold", "round", "flat", "near", "far", "soft", "hard", "old"]
VOCABULARY = [*SPECIAL, *WORDS]

_SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 40,
    "max_position_embeddings": 48,
}
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GROUPED = _SIZES | _ENDS | {"num_key_value_heads": 2}
_GPT = {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 40, "n_positions": 48}
_T5 = {
    "decoder_start_token_id": 0,
    "d_model": 16,
    "d_kv": 8,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "d_ff": 24,
    "vocab_size": 40,
    "eos_token_id": 2,
}
_XLM = {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "vocab_size": 40, "max_position_embeddings": 48}
_BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 40,
    "max_position_embeddings": 48,
}
_DEBERTA_V3 = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "position_buckets": 8,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "albert": _SIZES | {"embedding_size": 8},
    "bart": _BART,
    "bert": _SIZES,
    "bloom": {"hidden_size": 16, "n_layer": 3, "n_head": 2, "vocab_size": 40, "pad_token_id": 0},
    "camembert": _SIZES,
    "convbert": _SIZES | {"embedding_size": 16},
    "data2vec-text": _SIZES,
    "deberta": _SIZES,
    "deberta-v2": _SIZES | _DEBERTA_V3 | {"conv_kernel_size": 3, "conv_act": "gelu"},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "vocab_size": 40},
    "electra": _SIZES | {"embedding_size": 8},
    "esm": _SIZES | {"pad_token_id": 1, "mask_token_id": 2, "emb_layer_norm_before": True},
    "falcon": _SIZES | _ENDS,
    "funnel": {
        "d_model": 16,
        "block_sizes": [1, 2, 1],
        "num_decoder_layers": 2,
        "n_head": 2,
        "d_head": 8,
        "d_inner": 24,
        "vocab_size": 40,
    },
    "gemma2": _GROUPED | {"head_dim": 8},
    "gpt2": _GPT | _ENDS,
    "gpt_neox": _SIZES | _ENDS,
    "layoutlm": _SIZES,
    "llama": _GROUPED,
    "megatron-bert": _SIZES,
    "mistral": _GROUPED,
    "mobilebert": _SIZES | {"embedding_size": 8, "intra_bottleneck_size": 8},
    "modernbert": _SIZES | _ENDS | {"cls_token_id": 1, "sep_token_id": 2},
    "mpnet": _SIZES,
    "mt5": _T5,
    "opt": _SIZES | _ENDS | {"ffn_dim": 24, "word_embed_proj_dim": 8},
    "phi": _SIZES | _ENDS,
    "qwen2": _GROUPED,
    "qwen3": _GROUPED | {"head_dim": 8},
    "rembert": _SIZES | {"input_embedding_size": 8, "output_embedding_size": 8},
    "roberta": _SIZES,
    "roformer": _SIZES | {"embedding_size": 16},
    "squeezebert": _SIZES
    | {"embedding_size": 16}
    | {f"{name}_groups": 1 for name in ("q", "k", "v", "post_attention", "intermediate", "output")},
    "t5": _T5,
    "umt5": _T5,
    "xlm": _XLM,
    "xlm-roberta": _SIZES,
    "xlnet": {"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 24, "vocab_size": 40},
}
"""Settings of a tiny model of each family."""


def family_config(family: str, **changes: Any) -> Any:
    """The configuration of a tiny sequence classifier with 3 labels."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(family, **(FAMILIES[family] | changes))
    config.num_labels = 3
    if config.pad_token_id is None:
        config.pad_token_id = 0
    return config


def family_model(family: str, **changes: Any) -> nn.Module:
    """A tiny sequence classifier of a family, in eval mode, its numbers seeded."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    model: nn.Module = AutoModelForSequenceClassification.from_config(family_config(family, **changes))
    return model.eval()


def token_ids(rows: int = 2, width: int = 8) -> torch.Tensor:
    """Token ids [rows, width] that every family can read; the last is the end of a sentence (BART looks for it)."""
    ids = torch.randint(5, 40, (rows, width), generator=torch.Generator().manual_seed(1))
    ids[:, -1] = 2
    return ids


def save_tokenizer(folder: Path, special: bool = True) -> None:
    """A tokenizer of one token for each word; with `special`, [CLS] comes before a text and [SEP] behind it, and behind
    the second of a pair, whose tokens are of segment 1."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    if special:
        tokenizer.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)


def save_pretrained(folder: Path, family: str = "bert", **changes: Any) -> Path:
    """A folder as the hub has them: a tiny model's body without a head, its configuration and tokenizer."""
    from transformers import AutoModel

    config = family_config(family, **({"vocab_size": len(VOCABULARY)} | changes))
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder
