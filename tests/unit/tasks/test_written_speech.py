"""Speech recognition by Whisper: spectra, losses and texts are compared with plain transformers on each sound alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.unit.outputs.summaries import summary
from tests.unit.outputs.test_model_card import code
from tests.unit.predicting import by_workers, predictions_of
from tests.unit.tiny_sounds import RATE, save_wav2vec2, spoken
from tests.unit.tiny_whisper import SECONDS, SPOKEN, WhisperJob
from thaw_trainer.data.sounds import read_samples
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import set_trainable
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import measure_split, predict_split
from thaw_trainer.outputs.model_card import card_of
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import Share
from thaw_trainer.tasks.speech_recognition import KIND

CPU = torch.device("cpu")
SPLITS = ("train", "validation", "test")
CONSTANT = {"training.schedule": {"name": "constant"}, "search.objective.metric": "loss"}


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> WhisperJob:
    """A job that no test changes."""
    return WhisperJob(tmp_path_factory.mktemp("hearing"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[WhisperJob, list[dict[str, float]]]:
    """A job whose model has learned to hear, in the folder `exported`, and the metrics of the epochs."""
    from tests.unit.tiny_jobs import run

    job = WhisperJob(tmp_path_factory.mktemp("taught"), 160)
    changes = CONSTANT | {"training.epochs": 24}
    task, built = job.task(changes), []
    build = task.build
    task.build = lambda: built.append(build()) or built[-1]  # type: ignore[func-returns-value, method-assign]
    told = run(task, job.spec(changes), job.root / "checkpoints")
    task.export(built[0], job.root / "exported")
    return job, told.metrics


def wave(job: WhisperJob, row: int) -> Any:
    """The samples of a row."""
    return read_samples(str(job.root / "sounds" / f"{row:03d}.wav"), RATE) / np.float32(32768)


def plain(folder: Path) -> tuple[Any, Any]:
    """Processor and model, as anyone loads them."""
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

    return AutoProcessor.from_pretrained(folder), AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()


def test_a_batch_is_what_the_models_own_extractor_makes_of_the_sounds(hearing: WhisperJob) -> None:
    processor, _ = plain(hearing.root / "model")
    for batch in hearing.task().batches("validation", 0, Share()):
        for row, spectrum in zip(batch.id, batch.spectra, strict=True):
            theirs = processor(wave(hearing, row), sampling_rate=RATE, return_tensors="np").input_features[0]
            np.testing.assert_array_equal(spectrum, theirs)


def test_a_rows_loss_is_that_of_transformers_for_the_sound_alone(hearing: WhisperJob) -> None:
    task = hearing.task()
    processor, model = plain(hearing.root / "model")
    processor.tokenizer.set_prefix_tokens(language="de", task="transcribe")
    found = predictions_of(task)
    for row, text, tokens, loss in zip(*(found[name] for name in ("id", "text", "tokens", "loss")), strict=True):
        inputs = processor(wave(hearing, row), sampling_rate=RATE, return_tensors="pt")
        labels = torch.tensor([processor.tokenizer(text)["input_ids"][1:]])
        with torch.no_grad():
            wanted = model(inputs.input_features, labels=labels).loss
        assert tokens == labels.shape[1] == len(text) + 4, "language, task, no timestamps, and the end"
        assert loss / tokens == pytest.approx(float(wanted), abs=2e-5)


def test_the_training_loss_counts_every_token_of_the_transcripts_once(hearing: WhisperJob) -> None:
    task = hearing.task()
    model = task.build().eval()
    loss = count = 0.0
    for batch in task.batches("train", 0, Share()):
        with torch.no_grad():
            one, tokens = task.step(model, batch, CPU)
        loss, count = loss + float(one), count + tokens
    found = predictions_of(task, "train")
    assert count == found["tokens"].sum()
    assert loss == pytest.approx(found["loss"].sum(), rel=1e-5)


def test_predictions_of_workers_are_those_of_one(hearing: WhisperJob) -> None:
    task = hearing.task()
    model = task.build().eval()
    by_world = [by_workers(task, model, "validation", world) for world in (1, 3)]
    assert all(np.array_equal(by_world[0][name], by_world[1][name]) for name in ("id", "tokens", "loss"))


def test_no_more_rows_are_measured_at_once_than_are_trained(hearing: WhisperJob) -> None:
    for training, rows in (({}, 8), ({"training.gradientAccumulation": 4}, 2), ({"training.batchSize": 64}, 32)):
        sweep = hearing.task(training).sweep("validation", Share())
        assert {len(plan.rows) for plan in sweep} == {rows}


def test_a_tiny_whisper_learns_letters_from_tones(taught: tuple[WhisperJob, list[dict[str, float]]]) -> None:
    job, metrics = taught
    assert metrics[-1]["loss"] < 0.5 < 2 < metrics[0]["loss"]
    task = job.task({"model.uri": "file:exported", "data.features": []})
    assert task.metrics(predictions_of(task), full=True)["cer"] < 0.3


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_are_those_of_the_exported_model(
    taught: tuple[WhisperJob, list[dict[str, float]]], beams: int, tmp_path: Path
) -> None:
    job, _ = taught
    task = job.task({"model.uri": "file:exported", "evaluation.generation": {"beams": beams}})
    model = task.build()
    found = predict_split(model, task, "test", Gang(), task.spec.training)
    assert found is not None
    task.export(model, tmp_path)
    processor, read = plain(tmp_path)
    assert read.generation_config.num_beams == beams
    assert read.generation_config.alignment_heads == [[0, 1]], "what else it says is kept"
    for row, predicted in zip(found["id"], found["predicted"], strict=True):
        inputs = processor(wave(job, row), sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            tokens = read.generate(inputs.input_features)
        assert predicted == " ".join(processor.batch_decode(tokens, skip_special_tokens=True)[0].split())
    assert len(set(found["predicted"])) == len(found["predicted"])


def test_the_code_of_a_card_runs(
    taught: tuple[WhisperJob, list[dict[str, float]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job, _ = taught
    task = job.task({"model.uri": "file:exported", "data.features": []})
    found = predictions_of(task)
    monkeypatch.chdir(job.root / "exported")
    sound = (job.root / "sounds" / f"{found['id'][0]:03d}.wav").read_bytes()
    Path("a_sound.wav").write_bytes(sound)
    card = card_of(summary(changes={"task": "speech-recognition"}, facts=task.store.facts))
    assert "AutoModelForSpeechSeq2Seq" in card
    exec(compile(code(card, "python"), "card", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.strip() == found["predicted"][0]


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        ({}, ["de", "transcribe"]),
        ({"data.features": [{"languages": {"source": "de", "target": "en"}}]}, ["de", "translate"]),
        ({"data.features": [{"languages": {"source": "en", "target": "en"}}]}, ["en", "transcribe"]),
    ],
)
def test_a_transcript_begins_with_language_and_task(
    hearing: WhisperJob, changes: dict[str, Any], prompt: list[str]
) -> None:
    task = hearing.task(changes)
    number = task.ears.tokenizer.convert_tokens_to_ids
    wanted = [number(f"<|{name}|>") for name in ("startoftranscript", *prompt, "notimestamps")]
    assert task.ears.prompt == wanted
    batch = next(iter(task.batches("test", 0, Share())))
    assert (batch.decoder_input_ids[:, :4] == wanted).all()
    model: Any = task.build()
    told = model.generation_config
    assert (told.language, told.task, told.forced_decoder_ids) == (f"<|{prompt[0]}|>", prompt[1], None)
    with torch.inference_mode():
        written = task.generate(model.eval(), batch, CPU)
    assert (written[:, :4] == torch.tensor(wanted)).all(), "as it began when it was trained"


def test_a_model_says_its_language_itself_or_is_told(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path)
    untold: dict[str, Any] = {"data.features": []}
    with pytest.raises(TrainerError, match="knows many languages: say which") as refused:
        job.task(untold)
    assert refused.value.field == "spec.data.features"
    for code_, message in (("xx", "no language 'xx'"), ("a", "no language 'a'")):
        with pytest.raises(TrainerError, match=message):
            job.task({"data.features": [{"languages": {"source": code_, "target": code_}}]})
    with pytest.raises(TrainerError, match=r"writes the language that is spoken \(de\), or en; found 'fr'"):
        job.task({"data.features": [{"languages": {"source": "de", "target": "fr"}}]})
    german = WhisperJob(tmp_path / "german", generation={"language": "<|de|>"})
    assert german.task(untold).ears.prompt == job.task().ears.prompt
    klingon = WhisperJob(tmp_path / "klingon", generation={"language": "klingon"})
    with pytest.raises(TrainerError, match="Unsupported language: klingon"):
        klingon.task(untold)
    english = WhisperJob(tmp_path / "english", multilingual=False)
    start, end = english.task(untold).ears.prompt
    tokenizer = english.task(untold).ears.tokenizer
    assert tokenizer.convert_ids_to_tokens([start, end]) == ["<|startoftranscript|>", "<|notimestamps|>"]
    with pytest.raises(TrainerError, match="no languages to choose"):
        english.task()
    assert predictions_of(english.task(untold))["predicted"].shape == (5,)


def test_the_manifest_decides_how_texts_are_written(
    hearing: WhisperJob, taught: tuple[WhisperJob, list[dict[str, float]]]
) -> None:
    number = hearing.task().ears.tokenizer.convert_tokens_to_ids
    plainly: Any = hearing.task().build()
    assert plainly.generation_config.num_beams == 1, "the likeliest token each time"
    assert plainly.generation_config.suppress_tokens == [number("("), number("<|nospeech|>")], "a is in the texts"
    job, _ = taught
    for most in (None, 2):
        generation = {"evaluation.generation": {"beams": 2, "maxTokens": most}}
        predicted = predictions_of(job.task(generation | {"model.uri": "file:exported"}))["predicted"]
        assert (max(len(text) for text in predicted) <= 2) == (most == 2)
    with pytest.raises(
        TrainerError, match="writes 20 tokens at most behind the 4 that begin a text; found 21"
    ) as found:
        hearing.task({"evaluation.generation": {"maxTokens": 21}}).build()
    assert found.value.field == "spec.evaluation.generation.maxTokens"


@pytest.mark.parametrize(("metric", "writes"), [(None, True), ("cer", True), ("loss", False)])
def test_validation_writes_texts_where_something_is_chosen_by_them(
    hearing: WhisperJob, metric: str | None, writes: bool
) -> None:
    task = hearing.task({"search.objective.metric": metric} if metric else {})
    found = measure_split(task.build(), task, "validation", Gang(), task.spec.training)
    assert ("wer" in found) == writes
    whole = task.metrics(predictions_of(task, "validation"), full=True)
    assert whole.keys() == {"loss", "wer", "cer"}
    assert whole["loss"] == found["loss"]


@pytest.mark.parametrize("depth", [1, 2])
def test_the_cached_encoder_gives_the_same_losses_to_the_last_bit(tmp_path: Path, depth: int) -> None:
    noisy: dict[str, Any] = {
        "dropout": 0.1,
        "encoder_layerdrop": 0.5,
        "apply_spec_augment": True,
        "mask_time_prob": 0.5,
    }
    job = WhisperJob(tmp_path, **noisy, mask_time_length=4)
    changes = {"freezing": {"preset": "last-n", "depth": depth}}
    spec = job.spec(changes)
    plan = prepare_job(spec, KIND, job.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(tmp_path / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = job.run(changes, "cached", prefix=site)
    computed = job.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] == 4 - depth, "two blocks of the encoder, two of the decoder"


def test_what_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path)
    table = tmp_path / "sounds" / "metadata.csv"
    soundfile.write(tmp_path / "sounds" / "998.wav", np.zeros(SECONDS * RATE + 1, dtype=np.float32), RATE)
    soundfile.write(tmp_path / "sounds" / "999.wav", spoken("ab", np.random.default_rng(9)), RATE)
    table.write_text(f"{table.read_text('utf-8')}998.wav,b\r\n999.wav,{21 * 'a'}\r\n", encoding="utf-8")

    def left_out(changes: dict[str, Any]) -> tuple[int, int]:
        counts = job.task(changes).store.facts["counts"]
        assert counts["read"] == 50 == sum(value for name, value in counts.items() if name != "read")
        sums = (sum(counts[f"{why}{name.capitalize()}"] for name in SPLITS) for why in ("tooLong", "textTooLong"))
        found = tuple(sums)
        return found[0], found[1]

    texts = [line.partition(",")[2] for line in table.read_text("utf-8").splitlines()[1:-2]]
    assert left_out({}) == (1, 1), "24 positions have room for three tokens, 20 letters and the end"
    duration = {"data.features": [SPOKEN, {"duration": {"maxSeconds": 1.0}}]}
    assert left_out(duration) == (1 + sum(0.15 * len(text) > 1.0 for text in texts), 1)
    limit = {"data.batching": {"maxTargetLength": 9}}
    assert left_out(limit) == (1, 1 + sum(len(text) > 5 for text in texts))
    for nothing, message, field in (
        ({"data.features": [SPOKEN, {"duration": {"maxSeconds": 0.01}}]}, "longer than 0.01 s", "spec.data.features"),
        ({"data.batching": {"maxTargetLength": 4}}, "longer than 4 tokens", "spec.data.batching.maxTargetLength"),
    ):
        with pytest.raises(TrainerError, match=f"every row of .* is {message}") as refused:
            job.task(nothing)
        assert refused.value.field == field


def test_an_empty_transcript_is_named(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path)
    table = tmp_path / "sounds" / "metadata.csv"
    soundfile.write(tmp_path / "sounds" / "999.wav", spoken("ab", np.random.default_rng(9)), RATE)
    table.write_text(table.read_text("utf-8") + '999.wav," "\r\n', encoding="utf-8")
    with pytest.raises(TrainerError, match="row 48: its text is empty"):
        job.task()


def test_of_models_that_write_only_whisper_is_known(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path)
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text("utf-8").replace('"whisper"', '"speech_to_text"'), encoding="utf-8")
    with pytest.raises(TrainerError, match="whisper is known; found speech_to_text") as refused:
        job.task()
    assert refused.value.field == "spec.model.uri"


def test_an_extractor_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path, max_source_positions=1500)
    with pytest.raises(TrainerError, match=r"feature_size 16 and nb_max_frames 3000; its feature extractor has .* 100"):
        job.task()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data.features": [SPOKEN]}, "spec.data.features"),
        ({"evaluation.generation": {"beams": 2}}, "spec.evaluation.generation"),
        ({"data.batching": {"maxTargetLength": 8}}, "spec.data.batching.maxTargetLength"),
    ],
)
def test_a_model_that_spells_is_told_nothing_of_writing(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    job = WhisperJob(tmp_path)
    save_wav2vec2(tmp_path / "wav2vec2")
    with pytest.raises(TrainerError, match="spells what it hears by CTC") as refused:
        job.task({"data.features": [], "model.uri": "file:wav2vec2"} | changes)
    assert refused.value.field == field


def test_it_trains_from_random_weights_and_in_bfloat16(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path)
    for changes in ({"model.init": "random"}, {"model.dtype": "bfloat16"}):
        told = job.run({"training.epochs": 1} | changes, folder=str(len(changes)) + next(iter(changes)))
        assert np.isfinite(told.losses[0]).all()
        assert told.metrics[0]["wer"] > 0


def test_frames_are_masked_in_what_is_trained_alone(tmp_path: Path) -> None:
    """SpecAugment below frozen blocks would change what they compute from call to call."""
    job = WhisperJob(tmp_path, apply_spec_augment=True, mask_time_prob=0.5, mask_time_length=4)
    task = job.task()
    model = task.build()
    layout = find_layout(model)
    batch = next(iter(task.batches("train", 0, Share())))
    before = batch.spectra.copy()

    def losses() -> list[float]:
        model.train()
        return [task.step(model, batch, CPU)[0].item() for _ in range(2)]

    set_trainable(model, layout, select(layout, ["blocks[-1:]"], ""))
    assert len(set(losses())) == 1
    set_trainable(model, layout, select(layout, ["all"], ""))
    assert len(set(losses())) == 2
    np.testing.assert_array_equal(batch.spectra, before, err_msg="masked in a copy")


def test_positions_that_whisper_holds_fixed_are_never_trained(hearing: WhisperJob) -> None:
    positions, embeddings = "model.encoder.embed_positions.weight", "model.decoder.embed_tokens.weight"
    for changes in ({}, {"model.init": "random"}):
        layout = find_layout(hearing.task(changes).build())
        assert layout.fixed.keys() == {positions}
        assert not {positions} & select(layout, ["all"], "")
        assert layout.aliases[embeddings] == (embeddings, "proj_out.weight"), "one tensor"
        assert layout.place[embeddings] == -1
        assert select(layout, ["head"], "") == {f"model.decoder.layer_norm.{name}" for name in ("weight", "bias")}
        assert layout.place["model.encoder.layer_norm.weight"] == 1, "of the encoder's last block"


def test_lora_trains_and_is_exported_merged(tmp_path: Path) -> None:
    job = WhisperJob(tmp_path)
    told = job.run({"model.adapter": {"method": "lora", "rank": 4}, "search.objective.metric": "loss"})
    assert told.metrics[-1]["loss"] < told.metrics[0]["loss"]
