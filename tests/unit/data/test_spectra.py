"""Spectra kept without their silence are, whole again, what the extractor made."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from thaw_trainer.data.spectra import Spectra, spectra_of

RATE, BINS, FRAMES = 4000, 16, 100


def test_short_long_and_silent_sounds_are_whole_again() -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=BINS, sampling_rate=RATE, hop_length=80, chunk_length=2, n_fft=320)
    random = np.random.default_rng(0)
    sounds = [random.integers(-9000, 9000, count).astype(np.int16) for count in (1, 700, 4000, 7999, 8000)]
    sounds += [np.zeros(500, dtype=np.int16), np.r_[sounds[1], np.zeros(3000, dtype=np.int16)]]
    flat = spectra_of(sounds, extractor)
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
