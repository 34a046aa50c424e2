"""Audio classification: folders of sounds to a classifier that learns, of samples or of spectra."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from tests.unit.tiny_sounds import RATE, save_wav2vec2, spoken
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.sounds import read_samples
from thaw_trainer.errors import TrainerError
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.audio_classification import KIND, AudioClassification
from thaw_trainer.tasks.protocol import JobFiles, Share
from thaw_trainer.uris import UriRoots


class Sounds:
    """A folder with a folder of sounds for each letter, and a tiny wav2vec2."""

    def __init__(self, root: Path) -> None:
        self.root = root
        random = np.random.default_rng(0)
        for number in range(48):
            letter = "abcd"[number % 4]
            file = root / "sounds" / letter / f"{number:02d}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, spoken(letter * int(random.integers(1, 6)), random), RATE)
        save_wav2vec2(root / "model")

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        own = {
            "task": "audio-classification",
            "model.uri": "file:model",
            "data.train.uri": "file:sounds",
            "data.split": {"validation": 0.25, "test": 0.25, "stratifyBy": "label"},
            "training.batchSize": 8,
            "training.epochs": 2,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> AudioClassification[Any]:
        spec = self.spec(changes)
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)


@pytest.fixture
def sounds(tmp_path: Path) -> Sounds:
    return Sounds(tmp_path)


def test_a_tiny_wav2vec2_tells_tones_apart(sounds: Sounds) -> None:
    told = sounds.run({"training.epochs": 15})
    assert told.metrics[-1]["accuracy"] > 0.7


def test_long_sounds_are_cut(sounds: Sounds) -> None:
    task = sounds.task({"data.features": [{"cut": {"maxSeconds": 0.4}}]})
    assert task.widths.max() <= 4
    for batch in task.batches("train", 0, Share()):
        assert batch.samples.max() <= 0.4 * RATE
        assert batch.mask.sum(axis=1).tolist() == batch.samples.tolist()


def test_the_exported_classifier_gives_the_measured_logits(sounds: Sounds) -> None:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    task = sounds.task()
    model = task.build().eval()
    task.export(model, sounds.root / "exported")
    read = AutoModelForAudioClassification.from_pretrained(sounds.root / "exported").eval()
    assert AutoFeatureExtractor.from_pretrained(sounds.root / "exported").sampling_rate == RATE
    assert list(read.config.id2label.values()) == ["a", "b", "c", "d"]
    batch = next(iter(task.batches("test", 0, Share())))
    with torch.inference_mode():
        ours = task.outputs(model, batch, torch.device("cpu"))["logits"]
        theirs = read(torch.from_numpy(batch.values), attention_mask=torch.from_numpy(batch.mask)).logits
    torch.testing.assert_close(ours, theirs)


def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(sounds: Sounds) -> None:
    changes = {"freezing": {"preset": "last-n", "depth": 1}}
    spec = sounds.spec(changes)
    plan = prepare_job(spec, KIND, sounds.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(sounds.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = sounds.run(changes, "cached", prefix=site)
    computed = sounds.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] > 0


def test_sounds_outside_a_folder_are_refused(sounds: Sounds) -> None:
    soundfile.write(sounds.root / "sounds" / "loose.wav", np.zeros(100), RATE)
    with pytest.raises(TrainerError, match="1 sounds outside a folder of their label"):
        sounds.task()


def save_ast(folder: Path, **changes: Any) -> Path:
    """A tiny Audio Spectrogram Transformer without a head, which hears a second at a hop of 1/25 s."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    settings: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_mel_bins": 16,
        "max_length": 25,
        "patch_size": 4,
        "time_stride": 4,
        "frequency_stride": 4,
    }
    torch.manual_seed(0)
    model = ASTModel(ASTConfig(**(settings | changes)))
    with torch.no_grad():
        model.embeddings.patch_embeddings.projection.weight.mul_(10)  # else one sound is like another to it
    model.save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=16, max_length=25, sampling_rate=RATE).save_pretrained(folder)
    return folder


@pytest.fixture
def spectra(tmp_path: Path) -> Sounds:
    """The same sounds, and a tiny AST."""
    made = Sounds(tmp_path)
    shutil.rmtree(tmp_path / "model")
    save_ast(tmp_path / "model")
    return made


def test_a_tiny_ast_tells_tones_apart_and_is_exported(spectra: Sounds) -> None:
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    slowly = {"training.optimizer": {"lr": 0.003}, "training.schedule": {"name": "constant"}}
    told = spectra.run(slowly | {"training.epochs": 40})
    assert told.metrics[-1]["accuracy"] > 0.7
    task = spectra.task()
    model = task.build().eval()
    task.export(model, spectra.root / "exported")
    read = AutoModelForAudioClassification.from_pretrained(spectra.root / "exported").eval()
    extractor = AutoFeatureExtractor.from_pretrained(spectra.root / "exported")
    files = sorted((spectra.root / "sounds").rglob("*.wav"))
    for batch in task.batches("test", 0, Share()):
        with torch.inference_mode():
            ours = task.outputs(model, batch, torch.device("cpu"))["logits"]
        for row, logits in zip(batch.id, ours, strict=True):
            samples = read_samples(str(files[row]), RATE) / np.float32(32768)
            with torch.inference_mode():
                theirs = read(**extractor(samples, sampling_rate=RATE, return_tensors="pt")).logits[0]
            torch.testing.assert_close(logits, theirs)


def test_the_cached_prefix_of_an_ast_gives_the_same_losses(spectra: Sounds) -> None:
    changes = {"freezing": {"preset": "last-n", "depth": 1}}
    spec = spectra.spec(changes)
    plan = prepare_job(spec, KIND, spectra.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(spectra.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = spectra.run(changes, "cached", prefix=site)
    assert cached.losses == spectra.run(changes, "computed").losses
    assert cached.reports[-1]["prefix"]["blocks"] == 2


def test_an_extractor_that_does_not_fit_its_ast_is_refused(spectra: Sounds) -> None:
    save_ast(spectra.root / "model", max_length=1024)
    with pytest.raises(TrainerError, match=r"num_mel_bins 16 and max_length 1024; its feature extractor has .* 25"):
        spectra.task()
