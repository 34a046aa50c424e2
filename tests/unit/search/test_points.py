from __future__ import annotations

from math import log
from typing import Any

import pytest

from tests.manifests import job, parameter
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.search.points import Point, Points, TpePoints, points_of

LR, SIZE = "training.optimizer.lr", "training.batchSize"
CHOICES = [parameter(LR, choice={"values": [0.1, 0.01]}), parameter(SIZE, choice={"values": [8, 16, 32]})]
RANGES = [
    parameter(LR, logUniform={"min": 1e-5, "max": 1e-1}),
    parameter("model.head.dropout", uniform={"min": 0.0, "max": 0.5}),
    parameter(SIZE, int={"min": 8, "max": 32, "step": 8}),
    parameter("training.schedule.name", choice={"values": ["linear", "cosine"]}),
]


def spec(algorithm: str, parameters: list[dict[str, Any]], **search: Any) -> FineTuneJobSpec:
    fields = {"algorithm": {"name": algorithm}, "parameters": parameters, **search}
    return FineTuneJobSpec.model_validate(job({"search": fields})["spec"])


def suggested(points: Points, count: int) -> list[Point | None]:
    return [points.suggest(ordinal) for ordinal in range(count)]


def test_a_grid_is_tried_in_order_and_then_over() -> None:
    points = points_of(spec("grid", CHOICES), 0)
    assert suggested(points, 7) == [
        {LR: 0.1, SIZE: 8},
        {LR: 0.1, SIZE: 16},
        {LR: 0.1, SIZE: 32},
        {LR: 0.01, SIZE: 8},
        {LR: 0.01, SIZE: 16},
        {LR: 0.01, SIZE: 32},
        None,
    ]


def test_a_grid_that_goes_on_knows_its_place_by_the_ordinal() -> None:
    assert points_of(spec("grid", CHOICES), 4).suggest(4) == {LR: 0.01, SIZE: 16}


def test_without_parameters_a_trial_changes_nothing() -> None:
    for algorithm in ("random", "tpe", "grid"):
        assert points_of(spec(algorithm, []), 0).suggest(0) == {}


def test_random_points_depend_on_seed_and_ordinal_alone() -> None:
    first = points_of(spec("random", RANGES), 0)
    other = points_of(spec("random", RANGES), 5)
    other.tell(0, {}, 0.5)
    assert [other.suggest(ordinal) for ordinal in (3, 1, 2)] == [first.suggest(ordinal) for ordinal in (3, 1, 2)]
    assert suggested(points_of(spec("random", RANGES, seed=1), 0), 5) != suggested(first, 5)
    assert len({str(point) for point in suggested(first, 20)}) == 20


def test_random_points_fill_their_ranges() -> None:
    points = [point for point in suggested(points_of(spec("random", RANGES), 0), 400) if point is not None]
    logs = sorted(log(float(point[LR]), 10) for point in points)
    assert -5 <= logs[0] < -4.9
    assert -1.1 < logs[-1] <= -1
    assert abs(sum(value < -3 for value in logs) - 200) < 40, "each order of magnitude is as likely"
    dropouts = [float(point["model.head.dropout"]) for point in points]
    assert 0 <= min(dropouts) < 0.01
    assert 0.49 < max(dropouts) < 0.5
    assert {point[SIZE] for point in points} == {8, 16, 24, 32}
    assert {point["training.schedule.name"] for point in points} == {"linear", "cosine"}


def test_whole_numbers_reach_no_further_than_their_bounds() -> None:
    stepped = [parameter(SIZE, int={"min": 1, "max": 10, "step": 4})]
    points = suggested(points_of(spec("random", stepped), 0), 100)
    assert {point[SIZE] for point in points if point is not None} == {1, 5, 9}


def loss(point: Point) -> float:
    """A bowl whose bottom is at 1e-3 and 0.2."""
    return (log(float(point[LR]), 10) + 3) ** 2 + 4 * (float(point["model.head.dropout"]) - 0.2) ** 2


def best_of(points: Points, trials: int) -> float:
    """The least loss of a search that is told each result."""
    least = float("inf")
    for ordinal in range(trials):
        point = points.suggest(ordinal)
        assert point is not None
        least = min(least, loss(point))
        points.tell(ordinal, point, loss(point))
    return least


def searched(algorithm: str, seed: int, trials: int = 24) -> float:
    fields = {"seed": seed, "trials": trials, "objective": {"metric": "loss"}}
    return best_of(points_of(spec(algorithm, RANGES[:2], **fields), 0), trials)


def test_tpe_finds_more_of_a_bowl_than_chance_does() -> None:
    seeds = range(12)
    tpe, chance = [searched("tpe", seed) for seed in seeds], [searched("random", seed) for seed in seeds]
    assert sum(tpe) < 0.6 * sum(chance)
    assert sorted(tpe)[6] < sorted(chance)[6]


def test_tpe_goes_up_where_more_is_better() -> None:
    points = points_of(spec("tpe", RANGES[:2], trials=40, objective={"metric": "accuracy"}), 0)
    values = []
    for ordinal in range(40):
        point = points.suggest(ordinal)
        assert point is not None
        values.append(-loss(point))
        points.tell(ordinal, point, values[-1])
    assert sum(values[-10:]) > sum(values[:10])


def tpe(known: int, seed: int = 0) -> TpePoints:
    return TpePoints(spec("tpe", RANGES).search.parameters or [], "min", seed, 40, known)


def test_tpe_that_goes_on_tries_other_points_than_before() -> None:
    first = tpe(0)
    before = [point for point in suggested(first, 6) if point is not None]
    resumed = tpe(known=6)
    for ordinal, point in enumerate(before):
        resumed.tell(ordinal, point, loss(point))
    after = [resumed.suggest(ordinal) for ordinal in range(6, 12)]
    assert not {str(point) for point in before} & {str(point) for point in after}


def test_tpe_learns_from_what_an_earlier_run_tried() -> None:
    """Told a bowl, its next points lie lower than those of a search that was told nothing."""
    bowl = spec("tpe", RANGES[:2]).search.parameters or []
    told, untold = TpePoints(bowl, "min", 0, 40, 30), TpePoints(bowl, "min", 0, 40, 30)
    chance = points_of(spec("random", RANGES[:2]), 0)
    for ordinal in range(30):
        point = chance.suggest(ordinal)
        assert point is not None
        told.tell(ordinal, point, loss(point))
    losses = [
        sum(loss(point) for ordinal in range(30, 40) if (point := points.suggest(ordinal)) is not None)
        for points in (told, untold)
    ]
    assert losses[0] < 0.7 * losses[1]


def test_tpe_repeats_itself_with_its_seed() -> None:
    assert suggested(tpe(0), 4) == suggested(tpe(0), 4)
    assert suggested(tpe(0), 4) != suggested(tpe(0, seed=1), 4)


def test_tpe_takes_a_failure_as_no_value() -> None:
    points = tpe(0)
    for ordinal in range(12):
        point = points.suggest(ordinal)
        assert point is not None
        points.tell(ordinal, point, None if ordinal % 2 else loss(point))
    points.tell(99, {LR: 0.1}, None)
    assert points.suggest(12) is not None


@pytest.mark.parametrize("ordinals", [(0, 1, 2), (2, 0, 1)])
def test_tpe_may_be_told_in_any_order(ordinals: tuple[int, ...]) -> None:
    points = tpe(0)
    tried = {ordinal: points.suggest(ordinal) for ordinal in range(3)}
    for ordinal in ordinals:
        point = tried[ordinal]
        assert point is not None
        points.tell(ordinal, point, loss(point))
    assert points.suggest(3) is not None
