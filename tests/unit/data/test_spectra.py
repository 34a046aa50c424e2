"""Spectra kept without their silence are, whole again, what the extractor made."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from thaw_trainer.data.spectra import Spectra, spectra_of
from thaw_trainer.errors import TrainerError

RATE, BINS, FRAMES = 4000, 16, 100


def test_short_long_and_silent_sounds_are_whole_again() -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=BINS, sampling_rate=RATE, hop_length=80, chunk_length=2, n_fft=320)
    random = np.random.default_rng(0)
    sounds = [random.integers(-9000, 9000, count).astype(np.int16) for count in (1, 700, 4000, 7999, 8000)]
    sounds += [np.zeros(500, dtype=np.int16), np.r_[sounds[1], np.zeros(3000, dtype=np.int16)]]
    flat = spectra_of(np.arange(len(sounds)), sounds, extractor)
    short, longer, half, *whole, silent, padded = [len(each) // BINS for each in flat]
    assert silent == 1
    assert short < longer == padded < 15 < half < 55
    assert whole == [FRAMES, FRAMES]
    rows = np.asarray([6, 0, 3, 5, 1, 2, 4, 5])
    found = Spectra(pa.chunked_array([pa.array(flat, pa.large_list(pa.float32()))]), BINS, FRAMES).batch(rows)
    for row, spectrum in zip(rows, found, strict=True):
        theirs = extractor(sounds[row] / np.float32(32768), sampling_rate=RATE, return_tensors="np").input_features[0]
        assert theirs.shape == (BINS, FRAMES)
        np.testing.assert_array_equal(spectrum, theirs)


def test_an_extractor_that_gives_frame_after_frame_is_read_so() -> None:
    from transformers import ASTFeatureExtractor

    extractor = ASTFeatureExtractor(num_mel_bins=BINS, max_length=40, sampling_rate=RATE)
    random = np.random.default_rng(0)
    sounds = [random.integers(-9000, 9000, count).astype(np.int16) for count in (400, 700, 6000, 9000)]
    flat = spectra_of(np.arange(4), sounds, extractor, by_frame=True)
    column = pa.chunked_array([pa.array(flat, pa.large_list(pa.float32()))])
    found = Spectra(column, BINS, 40, by_frame=True).batch(np.arange(4))
    theirs = extractor([each / np.float32(32768) for each in sounds], sampling_rate=RATE, return_tensors="np")
    np.testing.assert_array_equal(found, theirs.input_values)
    with pytest.raises(TrainerError, match="row 7 has 100 samples, too few for a spectrum"):
        spectra_of(np.asarray([7]), [sounds[0][:100]], extractor, by_frame=True)
