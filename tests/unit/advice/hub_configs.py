"""What the config.json of each catalogued model says, as far as its size depends on it; written down from the hub, so
that transformers can build the model without it."""

from __future__ import annotations

from typing import Any

from torch import nn

_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
_DEBERTA_V3 = {
    "vocab_size": 128100,
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "max_relative_positions": -1,
}
_MARIAN = {
    **{"vocab_size": 58101, "d_model": 512, "encoder_layers": 6, "decoder_layers": 6, "pad_token_id": 58100},
    **{"encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "encoder_attention_heads": 8, "decoder_attention_heads": 8},
    **{"max_position_embeddings": 512, "decoder_start_token_id": 58100, "eos_token_id": 0},
}
_T5_BASE = {"d_model": 768, "d_ff": 3072, "d_kv": 64, "num_layers": 12, "num_heads": 12, "vocab_size": 32128}
_BART_BASE = {
    **{"vocab_size": 50265, "d_model": 768, "encoder_layers": 6, "decoder_layers": 6},
    **{"encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072, "encoder_attention_heads": 12, "decoder_attention_heads": 12},
}
_SMOL = {
    **{"vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536},
    **{"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True},
}
_QWEN = {
    **{"vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864},
    **{"num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True},
}
_TINY_LLAMA = {
    **{"vocab_size": 32000, "hidden_size": 2048, "num_hidden_layers": 22, "intermediate_size": 5632},
    **{"num_attention_heads": 32, "num_key_value_heads": 4},
}
_PYTHIA = {
    **{"vocab_size": 50304, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
    **{"num_attention_heads": 12, "max_position_embeddings": 2048, "tie_word_embeddings": False},
}
_DEIT_TINY = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
_DEIT_SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
_WHISPER_TINY = {
    **{"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "vocab_size": 51865},
    **{"encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536, "encoder_attention_heads": 6, "decoder_attention_heads": 6},
}
_WHISPER_BASE = {
    **{"d_model": 512, "encoder_layers": 6, "decoder_layers": 6, "vocab_size": 51865},
    **{"encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "encoder_attention_heads": 8, "decoder_attention_heads": 8},
}
_WHISPER_SMALL = {
    **{"d_model": 768, "encoder_layers": 12, "decoder_layers": 12, "vocab_size": 51865},
    **{"encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072, "encoder_attention_heads": 12, "decoder_attention_heads": 12},
}
_YOLOS_TINY = {
    **{"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768, "image_size": [800, 1333]},
    **{"use_mid_position_embeddings": False, "num_detection_tokens": 100},
}

CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hf://sentence-transformers/all-MiniLM-L6-v2": (
        "AutoModel",
        "bert",
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    ),
    "hf://google/electra-small-discriminator": (
        "AutoModel",
        "electra",
        {"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    ),
    "hf://distilbert/distilbert-base-uncased": ("AutoModel", "distilbert", {}),
    "hf://google-bert/bert-base-uncased": ("AutoModel", "bert", {}),
    "hf://FacebookAI/roberta-base": ("AutoModel", "roberta", _ROBERTA),
    "hf://FacebookAI/roberta-large": ("AutoModel", "roberta", _ROBERTA | _LARGE),
    "hf://FacebookAI/xlm-roberta-base": ("AutoModel", "xlm-roberta", _ROBERTA | {"vocab_size": 250002}),
    "hf://microsoft/deberta-v3-base": (
        "AutoModel",
        "deberta-v2",
        _DEBERTA_V3
        | {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    ),
    "hf://Helsinki-NLP/opus-mt-en-de": ("AutoModelForSeq2SeqLM", "marian", _MARIAN),
    "hf://google-t5/t5-small": ("AutoModelForSeq2SeqLM", "t5", {}),
    "hf://google-t5/t5-base": ("AutoModelForSeq2SeqLM", "t5", _T5_BASE),
    "hf://facebook/bart-base": ("AutoModelForSeq2SeqLM", "bart", _BART_BASE),
    "hf://facebook/bart-large": ("AutoModelForSeq2SeqLM", "bart", {"vocab_size": 50265}),
    "hf://distilbert/distilgpt2": ("AutoModelForCausalLM", "gpt2", {"n_layer": 6}),
    "hf://openai-community/gpt2": ("AutoModelForCausalLM", "gpt2", {}),
    "hf://openai-community/gpt2-medium": (
        "AutoModelForCausalLM",
        "gpt2",
        {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    ),
    "hf://HuggingFaceTB/SmolLM2-135M": ("AutoModelForCausalLM", "llama", _SMOL),
    "hf://EleutherAI/pythia-160m": ("AutoModelForCausalLM", "gpt_neox", _PYTHIA),
    "hf://Qwen/Qwen2.5-0.5B": ("AutoModelForCausalLM", "qwen2", _QWEN),
    "hf://TinyLlama/TinyLlama-1.1B-Chat-v1.0": ("AutoModelForCausalLM", "llama", _TINY_LLAMA),
    "hf://facebook/deit-tiny-patch16-224": ("AutoModelForImageClassification", "vit", _DEIT_TINY),
    "hf://facebook/deit-small-patch16-224": ("AutoModelForImageClassification", "vit", _DEIT_SMALL),
    "hf://google/vit-base-patch16-224": ("AutoModelForImageClassification", "vit", {}),
    "hf://microsoft/resnet-18": (
        "AutoModelForImageClassification",
        "resnet",
        {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
    ),
    "hf://microsoft/resnet-50": ("AutoModelForImageClassification", "resnet", {}),
    "hf://hustvl/yolos-tiny": ("AutoModelForObjectDetection", "yolos", _YOLOS_TINY),
    "hf://openai/whisper-tiny": ("AutoModelForSpeechSeq2Seq", "whisper", _WHISPER_TINY),
    "hf://openai/whisper-base": ("AutoModelForSpeechSeq2Seq", "whisper", _WHISPER_BASE),
    "hf://openai/whisper-small": ("AutoModelForSpeechSeq2Seq", "whisper", _WHISPER_SMALL),
    "hf://facebook/wav2vec2-base": ("AutoModel", "wav2vec2", {}),
    "hf://facebook/wav2vec2-base-960h": ("AutoModel", "wav2vec2", {}),
    "hf://facebook/hubert-base-ls960": ("AutoModel", "hubert", {}),
    "hf://MIT/ast-finetuned-audioset-10-10-0.4593": ("AutoModel", "audio-spectrogram-transformer", {}),
}


def built(uri: str) -> nn.Module:
    """The model on the meta device."""
    import transformers

    from thaw_trainer.models.pretrained import build_empty

    auto_class, model_type, changes = CONFIGS[uri]
    config = transformers.AutoConfig.for_model(model_type, **changes)
    return build_empty(getattr(transformers, auto_class), config).eval()
