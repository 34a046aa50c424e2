"""Answers: the best span of a window, and SQuAD's metrics, compared with torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.text import squad as squad_metrics

from thaw_trainer.data.questions import NOWHERE
from thaw_trainer.tasks.answer_metrics import answer_metrics
from thaw_trainer.tasks.question_answering import best_span


def test_a_span_never_ends_before_it_begins_nor_leaves_the_context() -> None:
    offsets = np.asarray([[NOWHERE, NOWHERE], [0, 3], [4, 7], [NOWHERE, NOWHERE]])
    start, end = (np.asarray(each, dtype=np.float32) for each in ([9, 1, 5, 9], [9, 6, 1, 9]))
    assert best_span(start, end, offsets) == (7.0, 0, 3)
    assert best_span(start, end, offsets[:1])[0] == -np.inf


def test_answers_may_be_as_long_as_those_of_train() -> None:
    offsets = np.stack([np.arange(50), np.arange(50) + 1], axis=1)
    start, end = np.zeros(50, dtype=np.float32), np.zeros(50, dtype=np.float32)
    start[5], end[45] = 9.0, 9.0
    assert best_span(start, end, offsets, 41) == (18.0, 5, 46)
    assert best_span(start, end, offsets, 40)[0] < 18.0


texts = st.lists(st.sampled_from(["the", "A", "cat", "Cat,", "sat", "on", "mat."]), max_size=5).map(" ".join)


@given(st.lists(st.tuples(texts, st.lists(texts.filter(bool), min_size=1, max_size=3)), min_size=1, max_size=4))
def test_the_metrics_are_those_of_squad(pairs: list[tuple[str, list[str]]]) -> None:
    found = answer_metrics([text for text, _ in pairs], [right for _, right in pairs])
    theirs = squad_metrics(
        [{"prediction_text": text, "id": str(number)} for number, (text, _) in enumerate(pairs)],
        [
            {"answers": {"text": right, "answer_start": [0] * len(right)}, "id": str(number)}
            for number, (_, right) in enumerate(pairs)
        ],
    )
    assert found["exactMatch"] * 100 == pytest.approx(float(theirs["exact_match"]), abs=1e-3)
    assert found["f1"] * 100 == pytest.approx(float(theirs["f1"]), abs=1e-3)


def test_no_answer_is_right_where_there_is_none() -> None:
    assert answer_metrics(["", "cat"], [[], []]) == {"exactMatch": 0.5, "f1": 0.5}
