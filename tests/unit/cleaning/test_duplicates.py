"""Rows that are there already, exactly or almost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cleaning.tables import Columns, cleaned
from tests.unit.tiny_models import WORDS
from thaw_trainer.cleaning.duplicates import near_an_earlier_one
from thaw_trainer.cleaning.minhash import band_keys, bands_for, shingles
from thaw_trainer.errors import TrainerError


def kept(step: str, options: dict[str, Any], train: Columns, test: Columns | None = None) -> dict[str, list[int]]:
    held_out = {"test": test} if test else {}
    rows, _ = cleaned(step, options, train, None, **held_out)
    return {name: its.ids.tolist() for name, its in rows.items()}


def test_the_first_of_equal_rows_stays() -> None:
    table: Columns = {
        "text": ["a", "b", "a", "a", None, None],
        "label": ["x", "x", "x", "y", "x", "x"],
        "n": list(range(6)),
    }
    assert kept("dropDuplicates", {}, table) == {"train": [0, 1, 3, 4]}
    assert kept("dropDuplicates", {"by": ["text"]}, table) == {"train": [0, 1, 4]}


def test_the_held_out_side_loses_a_duplicate_whatever_the_order_of_the_sources() -> None:
    train, test = ({"text": texts, "label": ["x"] * len(texts)} for texts in (["a", "b"], ["b", "c", "c"]))
    assert kept("dropDuplicates", {}, train, test=test) == {"train": [0, 1], "test": [1]}


@pytest.mark.parametrize("column", [[["a", "b"], ["a"], ["a", "b"]], [b"\x00", b"\x01", b"\x00"], [1.5, 2.5, 1.5]])
def test_lists_bytes_and_numbers_are_compared_too(column: list[Any]) -> None:
    assert kept("dropDuplicates", {"by": ["text"]}, {"text": column}) == {"train": [0, 1]}


def test_sources_that_cannot_be_compared_are_refused_by_the_step() -> None:
    with pytest.raises(TrainerError) as refused:
        kept("dropDuplicates", {"by": ["text"]}, {"text": ["a"]}, {"text": [["a"]]})
    assert refused.value.field == "spec.data.clean[0].dropDuplicates"


def jaccard(one: str, other: str) -> float:
    mine, theirs = ({text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in (one, other))
    return len(mine & theirs) / len(mine | theirs)


def noisy(texts: list[str], random: np.random.Generator, changed: int) -> list[str]:
    """Copies in which some characters are others."""
    copies = []
    for text in texts:
        letters = list(text)
        for place in random.integers(0, len(letters), changed):
            letters[place] = "abcdefghij"[random.integers(10)]
        copies.append("".join(letters))
    return copies


def test_what_is_found_is_what_comparing_every_pair_finds() -> None:
    random = np.random.default_rng(0)
    originals = [" ".join(random.choice(WORDS, size=25)) for _ in range(150)]
    texts = originals + noisy(originals[:100], random, 2) + noisy(originals[:100], random, 6)
    near = np.asarray(
        [max((jaccard(text, other) for other in texts[:row]), default=0) for row, text in enumerate(texts)]
    )
    found = near_an_earlier_one(texts, 0.8)
    assert not found[near < 0.8].any()
    assert found[near >= 0.8].mean() > 0.97
    assert (near >= 0.8).sum() > 60


def test_a_held_out_text_that_is_near_a_training_text_goes() -> None:
    text = "The quick brown fox jumps over the lazy dog and runs into the forest."
    train, test = (
        {"text": texts, "label": ["x"] * len(texts)} for texts in ([text], [text.replace("dog", "cat"), "So."])
    )
    assert kept("dropNearDuplicates", {"similarity": 0.7}, train, test=test) == {"train": [0], "test": [1]}
    assert kept("dropNearDuplicates", {"similarity": 0.95}, train, test=test) == {"train": [0], "test": [0, 1]}


def test_case_and_white_space_make_no_difference() -> None:
    table = {"text": ["A  longer text\nof two lines", "a longer TEXT of two lines", "", ""], "label": list("xxxx")}
    assert kept("dropNearDuplicates", {}, table) == {"train": [0, 2]}


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=12))
def test_every_text_has_the_least_hashes_of_its_own_shingles(texts: list[str]) -> None:
    together = band_keys(texts, 4, 2)
    alone = np.concatenate([band_keys([text], 4, 2) for text in texts], axis=1)
    assert np.array_equal(together, alone)
    same = [(i, j) for i in range(len(texts)) for j in range(i) if shingles(texts[i]) == shingles(texts[j])]
    for one, other in same:
        assert len(texts[one]) < 5 or np.array_equal(together[:, one], together[:, other])


@settings(deadline=None)
@given(st.floats(0.5, 0.999))
def test_texts_of_just_the_similarity_share_a_band_99_times_in_100(similarity: float) -> None:
    bands, width = bands_for(similarity)
    assert bands * width <= 64
    assert 1 - (1 - similarity**width) ** bands >= 0.99
