from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifests import job, parameter
from thaw_api.job import FineTuneJobSpec
from thaw_api.search import ParameterSpec
from thaw_trainer.search.points import RandomPoints, points_of
from thaw_trainer.search.warm_start import holds

LR = "training.optimizer.lr"
PARAMETERS = [
    ParameterSpec.model_validate(each)
    for each in (
        parameter(LR, logUniform={"min": 1e-5, "max": 0.1}),
        parameter("training.labelSmoothing", uniform={"min": 0, "max": 0.3}),
        parameter("training.epochs", int={"min": 3, "max": 21, "step": 3}),
        parameter("training.compile", choice={"values": [True, False]}),
        parameter("training.batchSize", choice={"values": [1, 16, 32]}),
    )
]


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_point_that_a_search_tries_is_in_its_space(seed: int) -> None:
    point = RandomPoints(PARAMETERS, seed).suggest(0)
    assert point is not None
    assert all(holds(each, point[each.path]) for each in PARAMETERS)


def test_values_outside_a_space_are_told_from_those_inside() -> None:
    lr, smoothing, epochs, compile_, rows = PARAMETERS
    assert [holds(lr, value) for value in (1e-6, 0.2, "1e-3", True)] == [False] * 4
    assert [holds(smoothing, value) for value in (0, 0.3, 0.31)] == [True, True, False]
    assert [holds(epochs, value) for value in (3, 6, 7, 24)] == [True, True, False, False]
    assert [holds(compile_, value) for value in (True, False, 1, 0)] == [True, True, False, False]
    assert [holds(rows, value) for value in (1, True, 16, 64)] == [True, False, True, False]


def test_tpe_looks_where_an_earlier_run_was_good() -> None:
    """Twenty earlier trials say that small rates are good: the first suggestions are small; without them they are
    spread."""

    def suggested(known: bool) -> list[float]:
        search = {
            "trials": 8,
            "algorithm": {"name": "tpe"},
            "objective": {"metric": "accuracy"},
            "parameters": [parameter(LR, logUniform={"min": 1e-5, "max": 0.1})],
        }
        points = points_of(FineTuneJobSpec.model_validate(job({"search": search})["spec"]), 0)
        for number in range(20 if known else 0):
            lr = 1e-5 * 10 ** (number / 5)
            points.tell(-1 - number, {LR: lr}, 1.0 if lr < 1e-4 else 0.0)
        found = [points.suggest(ordinal) for ordinal in range(6)]
        return [float(point[LR]) for point in found if point is not None]

    assert sum(lr < 1e-3 for lr in suggested(known=True)) >= 5
    assert sum(lr < 1e-3 for lr in suggested(known=False)) <= 2
