"""A tiny Whisper, its tokenizer made here, and speech jobs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from tests.unit.tiny_sounds import RATE, write_sounds
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.speech_recognition import KIND
from thaw_trainer.tasks.written_speech import WrittenSpeech
from thaw_trainer.uris import UriRoots

SECONDS = 2
"""What it hears at once."""
_HOP, _BINS = 80, 16
SPOKEN = {"languages": {"source": "de", "target": "de"}}


def whisper_tokenizer() -> Any:
    """One token for each byte, then Whisper's own in their order: end, start, languages, tasks and no timestamps."""
    from transformers import WhisperTokenizer
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    names = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    special = ["startoftranscript", *LANGUAGES, "translate", "transcribe", "startoflm", "startofprev", "nospeech"]
    return WhisperTokenizer(
        vocab={name: number for number, name in enumerate(names)},
        merges=[],
        pad_token="<|endoftext|>",
        extra_special_tokens=[f"<|{name}|>" for name in (*special, "notimestamps")],
    )


def save_whisper(folder: Path, multilingual: bool = True, generation: dict[str, Any] | None = None, **own: Any) -> Path:
    """A folder as the hub has them: two blocks that hear, two that write.

    Args:
        generation: what its generation config says beside what Whisper's says.
        own: settings of the configuration.
    """
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
    )

    tokenizer = whisper_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    end, start = number("<|endoftext|>"), number("<|startoftranscript|>")
    ids = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "num_mel_bins": _BINS,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_source_positions": SECONDS * RATE // _HOP // 2,
        "max_target_positions": 24,
        "begin_suppress_tokens": None,
        **ids,
    }
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**(settings | own)))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.requires_grad and "norm" not in name and "conv" not in name:
                tensor.mul_(6 if "encoder_attn" in name else 2)  # else it writes one text for every sound
    languages = {token: number(token) for token in ("<|en|>", "<|de|>", "<|fr|>")}
    many = {
        "lang_to_id": languages,
        "task_to_id": {name: number(f"<|{name}|>") for name in ("translate", "transcribe")},
    }
    model.generation_config = GenerationConfig(
        **ids,
        is_multilingual=multilingual,
        no_timestamps_token_id=number("<|notimestamps|>"),
        suppress_tokens=[number("a"), number("("), number("<|nospeech|>")],
        begin_suppress_tokens=[number("Ġ"), end],
        max_length=24,
        alignment_heads=[[0, 1]],
        **(many if multilingual else {}),
        **(generation or {}),
    )
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(
        feature_size=_BINS, sampling_rate=RATE, hop_length=_HOP, chunk_length=SECONDS, n_fft=320
    )
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


class WhisperJob:
    """A folder with sounds and a tiny Whisper, and trials of it."""

    def __init__(self, root: Path, count: int = 48, **model: Any) -> None:
        self.root = root
        write_sounds(root / "sounds", count)
        save_whisper(root / "model", **model)

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec: a batch of 8, 2 epochs, German; with changes by path."""
        own = {
            "task": "speech-recognition",
            "model.uri": "file:model",
            "data.train.uri": "file:sounds",
            "data.split": {"validation": 0.2, "test": 0.1},
            "data.features": [SPOKEN],
            "training.batchSize": 8,
            "training.epochs": 2,
            "training.optimizer": {"lr": 0.005},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        """Where it is."""
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> WrittenSpeech:
        """The task of a trial."""
        spec = self.spec(changes)
        task = KIND.open(spec, KIND.prepare(spec, self.files))
        assert isinstance(task, WrittenSpeech)
        return task

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        """Runs a trial whose checkpoints are in a folder of that name."""
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)
