"""Speech recognition by CTC: sounds as batches, CTC's loss and decoding, and a recognizer that learns."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from tests.unit.tiny_sounds import RATE, save_wav2vec2, spoken, texts, write_sounds
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.sounds import read_samples
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import set_trainable
from thaw_trainer.models.speech_recognizer import BLANK, DELIMITER, UNKNOWN, frames_of
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles, Share, predict
from thaw_trainer.tasks.speech_recognition import KIND
from thaw_trainer.tasks.spelled_speech import SpelledSpeech, greedy_text
from thaw_trainer.tasks.transcript_metrics import transcript_metrics
from thaw_trainer.uris import UriRoots


class Recognizer:
    """A folder with sounds and a tiny wav2vec2, and trials of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_sounds(root / "sounds")
        save_wav2vec2(root / "model")

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        own = {
            "task": "speech-recognition",
            "model.uri": "file:model",
            "data.train.uri": "file:sounds",
            "data.split": {"validation": 0.2, "test": 0.1},
            "training.batchSize": 8,
            "training.epochs": 2,
            "training.optimizer": {"lr": 0.005},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> SpelledSpeech:
        spec = self.spec(changes)
        task = KIND.open(spec, KIND.prepare(spec, self.files))
        assert isinstance(task, SpelledSpeech)
        return task

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    return Recognizer(tmp_path)


def test_a_tiny_wav2vec2_learns_letters_from_tones(recognizer: Recognizer) -> None:
    told = recognizer.run({"training.epochs": 40, "training.optimizer": {"lr": 0.01}})
    assert told.metrics[-1]["cer"] < 0.4 < told.metrics[0]["cer"]
    assert told.metrics[-1]["loss"] < told.metrics[0]["loss"] / 2


def test_the_loss_of_each_row_is_that_of_every_path(recognizer: Recognizer) -> None:
    """CTC's loss by enumeration: minus the log of the summed likelihood of all paths that spell the text."""
    task = recognizer.task()
    blank, a, b = 0, 3, 4
    logits = torch.randn(1, 4, len(task.vocabulary), generator=torch.Generator().manual_seed(0))
    shares = logits[0].softmax(dim=-1).tolist()
    likelihood = 0.0
    for path in itertools.product(range(len(task.vocabulary)), repeat=4):
        spelled = [each for each, _ in itertools.groupby(path) if each != blank]
        if spelled == [a, b]:
            likelihood += math.prod(shares[frame][each] for frame, each in enumerate(path))
    batch = next(iter(task.batches("train", 0, Share())))
    samples = np.asarray([next(n for n in itertools.count() if frames_of(task.config, n) == 4)])
    one = type(batch)(
        type(batch.sounds)(**(vars(batch.sounds) | {"samples": samples})), np.asarray([[a, b]]), np.asarray([2]), ["ab"]
    )
    assert task._losses(logits, one).item() == pytest.approx(-math.log(likelihood), rel=1e-5)


def test_frames_are_what_the_model_makes(recognizer: Recognizer) -> None:
    task = recognizer.task()
    model = task.build().eval()
    for samples in (400, 417, 999):
        logits = model(torch.zeros(1, samples)).logits
        assert logits.shape[1] == frames_of(task.config, samples)


def test_a_batch_is_what_transformers_makes_of_the_sounds(recognizer: Recognizer) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    task = recognizer.task()
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True, return_attention_mask=True)
    batch = next(iter(task.batches("validation", 0, Share()))).sounds
    waves = [read_samples(str(recognizer.root / "sounds" / f"{row:03d}.wav"), RATE) / 32768.0 for row in batch.id]
    theirs = extractor(
        waves, sampling_rate=RATE, padding="max_length", max_length=batch.values.shape[1], return_tensors="np"
    )
    np.testing.assert_allclose(batch.values, theirs["input_values"], atol=1e-4)
    np.testing.assert_array_equal(batch.mask, theirs["attention_mask"])


def test_the_exported_model_hears_what_was_measured(recognizer: Recognizer) -> None:
    from transformers import AutoModelForCTC, AutoProcessor

    task = recognizer.task()
    model = task.build().eval()
    task.export(model, recognizer.root / "exported")
    processor = AutoProcessor.from_pretrained(recognizer.root / "exported")
    read = AutoModelForCTC.from_pretrained(recognizer.root / "exported").eval()
    again = recognizer.task({"model.uri": "file:exported"})
    assert again.settings == task.settings
    assert again.vocabulary == task.vocabulary
    batch = next(iter(task.batches("test", 0, Share())))
    with torch.inference_mode():
        ours = predict(task, model, batch, torch.device("cpu"))
    for row, predicted in zip(ours["id"], ours["predicted"], strict=True):
        wave = read_samples(str(recognizer.root / "sounds" / f"{row:03d}.wav"), RATE) / 32768.0
        inputs = processor(wave, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            best = read(**inputs).logits.argmax(dim=-1)
        assert processor.batch_decode(best)[0] == predicted


def test_greedy_decoding_joins_repetitions_and_drops_blanks() -> None:
    vocabulary = [BLANK, UNKNOWN, DELIMITER, "a", "b"]
    assert greedy_text(np.asarray([3, 3, 0, 3, 2, 2, 0, 4, 1, 4, 2, 0]), vocabulary) == "aa bb"
    assert greedy_text(np.asarray([0, 0]), vocabulary) == ""


def test_errors_are_counted_over_all_words_that_were_said() -> None:
    found = transcript_metrics(["one two three", "four"], ["one too three", "four five"])
    assert found["wer"] == pytest.approx(2 / 4)
    assert found["cer"] == pytest.approx((1 + 5) / (13 + 4))


def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(recognizer: Recognizer) -> None:
    changes = {"freezing": {"preset": "last-n", "depth": 1}, "training.epochs": 3}
    spec = recognizer.spec(changes)
    plan = prepare_job(spec, KIND, recognizer.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(recognizer.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = recognizer.run(changes, "cached", prefix=site)
    computed = recognizer.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] > 0


def test_sounds_of_another_rate_are_brought_to_the_models(recognizer: Recognizer, tmp_path: Path) -> None:
    times = np.arange(16000) / 16000
    soundfile.write(tmp_path / "stereo.wav", np.stack([np.sin(2 * np.pi * 440 * times)] * 2, axis=1) * 0.5, 16000)
    samples = read_samples(str(tmp_path / "stereo.wav"), RATE) / 32768.0
    assert len(samples) == RATE
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=2e-3)


def test_sounds_that_are_too_long_are_left_out_and_counted(recognizer: Recognizer) -> None:
    store = PreparedStore(
        KIND.prepare(recognizer.spec({"data.features": [{"duration": {"maxSeconds": 1.0}}]}), recognizer.files)
    )
    counts = store.facts["counts"]
    left_out = sum(0.15 * len(text) > 1.0 for text in texts(48))
    assert sum(counts[f"tooLong{name}"] for name in ("Train", "Validation", "Test")) == left_out > 0
    assert max(store.facts["widths"]) <= 10


@pytest.mark.parametrize("form", ["jsonl", "folders"])
def test_a_manifest_is_read_as_a_folder_is_and_a_folder_without_one_is_refused(
    form: str, recognizer: Recognizer
) -> None:
    folder = recognizer.root / "sounds"
    if form == "folders":
        (folder / "metadata.csv").unlink()
        with pytest.raises(TrainerError, match=r"no metadata\.csv or metadata\.jsonl"):
            recognizer.task()
        return
    before = PreparedStore(KIND.prepare(recognizer.spec(), recognizer.files)).table("test")
    rows = [{"audio": f"{number:03d}.wav", "text": text} for number, text in enumerate(texts(48))]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    after = recognizer.spec({"data.train.uri": "file:sounds/manifest.jsonl"})
    assert PreparedStore(KIND.prepare(after, recognizer.files)).table("test").equals(before)


def test_a_corrupt_sound_and_an_empty_text_are_named(recognizer: Recognizer) -> None:
    (recognizer.root / "sounds" / "007.wav").write_bytes(b"no sound")
    with pytest.raises(TrainerError, match=r"007\.wav is no readable sound"):
        recognizer.task()
    write_sounds(recognizer.root / "sounds")
    table = recognizer.root / "sounds" / "metadata.csv"
    soundfile.write(recognizer.root / "sounds" / "999.wav", spoken("a", np.random.default_rng(9)), RATE)
    table.write_text(table.read_text("utf-8") + '999.wav," "\r\n', encoding="utf-8")
    with pytest.raises(TrainerError, match="row 48: its text is empty"):
        recognizer.task()


def test_a_model_that_reads_no_samples_is_refused(recognizer: Recognizer) -> None:
    (recognizer.root / "model" / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    with pytest.raises(TrainerError, match="bert reads no samples"):
        _ = recognizer.task().config


def test_weights_in_bfloat16_read_sounds_in_bfloat16(recognizer: Recognizer) -> None:
    told = recognizer.run({"model.dtype": "bfloat16", "training.epochs": 1})
    assert np.isfinite(told.losses[0]).all()


def test_a_sound_that_is_too_short_for_a_frame_has_no_loss(recognizer: Recognizer) -> None:
    soundfile.write(recognizer.root / "sounds" / "005.wav", np.full(3, 0.5), RATE)
    told = recognizer.run({"training.epochs": 1})
    assert np.isfinite(told.losses[0]).all()


def test_another_sound_is_another_store_wherever_a_table_names_it(recognizer: Recognizer) -> None:
    rows = [{"audio": f"sounds/{number:03d}.wav", "text": text} for number, text in enumerate(texts(48))]
    (recognizer.root / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    spec = recognizer.spec({"data.train.uri": "file:manifest.jsonl"})
    first = KIND.prepare(spec, recognizer.files)
    (recognizer.root / "unnamed.wav").write_bytes(b"")
    assert KIND.prepare(spec, recognizer.files) == first
    soundfile.write(recognizer.root / "sounds" / "005.wav", spoken("abcd", np.random.default_rng(7)), RATE)
    assert KIND.prepare(spec, recognizer.files) != first


def test_a_name_that_leads_out_of_the_folder_is_refused(recognizer: Recognizer) -> None:
    table = recognizer.root / "sounds" / "metadata.csv"
    table.write_text(table.read_text("utf-8") + "../secret.wav,a\r\n", encoding="utf-8")
    with pytest.raises(TrainerError, match=r"'\.\./secret\.wav' leads out of"):
        recognizer.task()


def test_frames_are_masked_in_what_is_trained_alone(recognizer: Recognizer) -> None:
    """SpecAugment below frozen blocks would change what they compute from call to call."""
    save_wav2vec2(recognizer.root / "model", mask_time_prob=0.5, mask_time_length=2)
    changes = {"freezing": {"preset": "last-n", "depth": 1}}
    spec = recognizer.spec(changes)
    plan = prepare_job(spec, KIND, recognizer.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(recognizer.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = recognizer.run(changes, "cached", prefix=site)
    assert cached.losses == recognizer.run(changes, "computed").losses
    assert cached.reports[-1]["prefix"]["blocks"] > 0
    task = recognizer.task()
    model = task.build()
    layout = find_layout(model)
    set_trainable(model, layout, select(layout, ["head", "blocks[-1:]"], ""))
    model.train()
    batch = next(iter(task.batches("train", 0, Share())))

    def outputs() -> torch.Tensor:
        torch.manual_seed(0)
        np.random.seed(0)
        return task.outputs(model, batch, torch.device("cpu"))["logits"]

    first = outputs()
    assert not model.wav2vec2.training  # type: ignore[union-attr]
    set_trainable(model, layout, select(layout, ["all"], ""))
    assert model.train().wav2vec2.training  # type: ignore[union-attr]
    assert not torch.equal(first, outputs())
