"""Average precision, compared with its definition written out and with cases that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from thaw_trainer.tasks.detection_metrics import Found, Truth, average_precision, detection_metrics

OVERLAPS = [0.5 + 0.05 * step for step in range(10)]
LEFT, RIGHT = (0.1, 0.1, 0.3, 0.3), (0.6, 0.6, 0.9, 0.9)


def truth(*boxes: tuple[float, ...], category: list[int] | None = None, crowd: list[int] | None = None) -> Truth:
    count = len(boxes)
    return Truth(
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        np.asarray(category or [0] * count, dtype=np.int64),
        np.asarray(crowd or [0] * count, dtype=np.uint8),
    )


def found(*boxes: tuple[float, ...], score: list[float], category: list[int] | None = None) -> Found:
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    classes = np.asarray(category or [0] * len(boxes), dtype=np.int64)
    return Found(corners, classes, np.asarray(score, dtype=np.float32))


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [float(np.prod(each[2:].astype(float) - each[:2])) for each in (one, other)]
    both = float(np.prod(sides.astype(float)))
    return both / (sum(areas) - both)


def written_out(truths: list[Truth], all_found: list[Found], classes: int) -> NDArray[np.float64]:
    """COCO's definition: in order of score, each box takes the free object of its class that it overlaps most, if by
    the threshold; precision at 101 recalls is the best at that recall or a higher one."""
    result = np.full((len(OVERLAPS), classes), np.nan)
    for category in range(classes):
        objects = [each.boxes[each.category == category] for each in truths]
        total = sum(map(len, objects))
        told = sorted(
            (-float(score), image, place)
            for image, each in enumerate(all_found)
            for place, score in enumerate(each.score)
            if each.category[place] == category
        )
        for step, threshold in enumerate(OVERLAPS if total else []):
            free = [list(range(len(each))) for each in objects]
            right = []
            for _, image, place in told:
                box = all_found[image].boxes[place]
                near = [(overlap(box, objects[image][each]), each) for each in free[image]]
                best = max(near, default=(0.0, -1))
                right.append(best[0] >= threshold)
                if right[-1]:
                    free[image].remove(best[1])
            hits = np.cumsum(right)
            recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
            at = [precision[recall >= each - 1e-12] for each in np.linspace(0, 1, 101)]
            result[step, category] = np.mean([each.max() if len(each) else 0.0 for each in at])
    return result


boxes = st.tuples(st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.1, 0.4), st.floats(0.1, 0.4)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@st.composite
def images(draw: st.DrawFn) -> tuple[list[Truth], list[Found]]:
    """Some images; what is found is near what is there, or anywhere. No two scores are equal."""
    truths, all_found = [], []
    scores = iter(draw(st.permutations(list(range(1, 41)))))
    for _ in range(draw(st.integers(1, 4))):
        there = draw(st.lists(boxes, max_size=4))
        classes = [draw(st.integers(0, 1)) for _ in there]
        moved = [tuple(side + draw(st.floats(-0.05, 0.05)) for side in box) for box in there]
        anywhere = draw(st.lists(boxes, min_size=1, max_size=3))
        told = [*moved, *anywhere]
        guessed = [draw(st.sampled_from([each, 1 - each])) for each in classes] + [0] * len(anywhere)
        truths.append(truth(*there, category=classes))
        all_found.append(found(*told, score=[next(scores) / 41 for _ in told], category=guessed))
    return truths, all_found


@settings(max_examples=60, deadline=None)
@given(images())
def test_it_is_what_cocos_definition_says(case: tuple[list[Truth], list[Found]]) -> None:
    truths, all_found = case
    np.testing.assert_allclose(average_precision(truths, all_found, 2), written_out(truths, all_found, 2), atol=1e-9)


def test_everything_found_is_a_precision_of_one() -> None:
    told = detection_metrics([truth(LEFT, RIGHT)], [found(LEFT, RIGHT, score=[0.9, 0.2])], 1)
    assert told == pytest.approx({"map": 1.0, "map50": 1.0, "map75": 1.0})


def test_half_of_it_found_is_a_precision_of_a_half() -> None:
    # Precision is 1 up to a recall of 0.5, at 51 of the 101 recalls.
    assert detection_metrics([truth(LEFT, RIGHT)], [found(LEFT, score=[0.9])], 1)["map"] == pytest.approx(51 / 101)


def test_a_false_box_before_the_true_one_halves_precision_and_one_behind_it_does_nothing() -> None:
    there = [truth(LEFT)]
    assert detection_metrics(there, [found(RIGHT, LEFT, score=[0.9, 0.8])], 1)["map"] == pytest.approx(0.5)
    assert detection_metrics(there, [found(RIGHT, LEFT, score=[0.7, 0.8])], 1)["map"] == pytest.approx(1.0)


def test_the_overlap_decides_between_50_and_75() -> None:
    wide = (0.1, 0.1, 0.4, 0.3)  # overlaps the left one by 2/3
    told = detection_metrics([truth(LEFT)], [found(wide, score=[0.9])], 1)
    assert (told["map50"], told["map75"]) == pytest.approx((1.0, 0.0))
    assert told["map"] == pytest.approx(0.4)


def test_a_class_that_no_image_has_does_not_count() -> None:
    precision = average_precision([truth(LEFT)], [found(LEFT, RIGHT, score=[0.9, 0.8], category=[0, 1])], 2)
    assert precision[:, 0] == pytest.approx(1.0)
    assert np.isnan(precision[:, 1]).all()
    assert detection_metrics([truth(LEFT)], [found(LEFT, score=[0.9])], 2)["map"] == pytest.approx(1.0)


def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong() -> None:
    there = [truth(LEFT, RIGHT, crowd=[0, 1])]
    inside = (0.65, 0.65, 0.75, 0.75)
    assert detection_metrics(there, [found(inside, LEFT, score=[0.9, 0.8])], 1)["map"] == pytest.approx(1.0)


def test_without_any_box_there_is_nothing_to_measure() -> None:
    assert np.isnan(detection_metrics([truth()], [found(LEFT, score=[0.9])], 1)["map"])


def test_only_the_hundred_best_boxes_of_an_image_are_looked_at() -> None:
    many = [RIGHT] * 100
    score = [0.9 - 0.001 * place for place in range(100)]
    assert detection_metrics([truth(LEFT)], [found(*many, LEFT, score=[*score, 0.1])], 1)["map"] == 0.0


@settings(max_examples=20, deadline=None)
@given(images(), st.floats(0.5, 20), st.floats(0.5, 20))
def test_it_is_the_same_in_pixels_of_any_image_as_in_shares(
    case: tuple[list[Truth], list[Found]], width: float, height: float
) -> None:
    truths, all_found = case
    sides = np.asarray([width, height, width, height], dtype=np.float32)
    there = [Truth(each.boxes * sides, each.category, each.crowd) for each in truths]
    told = [Found(each.boxes * sides, each.category, each.score) for each in all_found]
    np.testing.assert_allclose(average_precision(there, told, 2), average_precision(truths, all_found, 2), atol=1e-9)
