from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.manifests import parameter, phase
from tests.unit.tiny_jobs import TinyJob, labelled_texts, write_csv
from tests.unit.tiny_models import save_pretrained
from thaw_api.search_space import trial_spec
from thaw_trainer.errors import SCHEDULE_INVALID, SELECTOR_MATCHES_NOTHING, TRIAL_SPEC_INVALID, TrainerError
from thaw_trainer.preparation import Prepared, prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job with a model of 3 blocks, and a smaller one beside it of 2."""
    tiny = TinyJob(tmp_path_factory.mktemp("job"))
    save_pretrained(tiny.root / "small", num_hidden_layers=2)
    return tiny


def prepared(tiny: TinyJob, changes: dict[str, Any] | None = None) -> Prepared:
    files = JobFiles(UriRoots(tiny.root), tiny.root / "stores")
    return prepare_job(tiny.spec(changes), find_task("text-classification"), files)


def refusal(tiny: TinyJob, changes: dict[str, Any]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        prepared(tiny, changes)
    return caught.value


def searching(*parameters: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"search.parameters": list(parameters), **changes}


MODELS = parameter("model.uri", choice={"values": ["file:model", "file:small"]})


def test_a_job_knows_its_layout_and_facts(tiny: TinyJob) -> None:
    found = prepared(tiny)
    assert found.layout.blocks == 3
    assert found.facts["labels"] == ["blue", "green", "red"]
    assert len(found.stores) == 1


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, 1),
        ({"freezing": {"preset": "gradual"}}, 1),
        ({"freezing": {"preset": "lp-ft"}, "training.epochs": 6}, 3),
        ({"freezing": {"phases": [phase("a", until={"epochs": 2}), phase("b")]}}, 2),
        ({"freezing": {"phases": [phase("a", until={"steps": 1}), phase("b")]}}, 1),
        ({"freezing": {"phases": [phase("a", until={"steps": 13}), phase("b")]}, "training.epochs": 9}, 3),
        ({"freezing": {"phases": [phase("a", until={"time": "1h"}), phase("b")]}}, 4),
    ],
)
def test_the_first_phase_is_as_long_as_it_may_last(tiny: TinyJob, changes: dict[str, Any], epochs: int) -> None:
    assert prepared(tiny, changes).first_phase == epochs


def test_each_searched_input_has_a_store_and_every_trial_finds_its_own(tiny: TinyJob) -> None:
    changes = searching(MODELS, parameter("data.batching.maxLength", choice={"values": [8, 16]}))
    found, spec = prepared(tiny, changes), tiny.spec(changes)
    assert len(found.stores) == 5, "four combinations, and the spec's own"
    for uri in ("file:model", "file:small"):
        for length in (8, 16):
            trial = trial_spec(spec, {"model.uri": uri, "data.batching.maxLength": length})
            assert found.store_of(trial) == tiny.store(trial)


def test_other_searched_paths_make_no_store(tiny: TinyJob) -> None:
    assert len(prepared(tiny, searching(parameter())).stores) == 1


def test_an_input_that_is_searched_over_a_range_is_refused(tiny: TinyJob) -> None:
    error = refusal(tiny, searching(parameter("data.batching.maxLength", int={"min": 8, "max": 16})))
    assert (error.reason, error.field) == (TRIAL_SPEC_INVALID, "spec.search.parameters")


def test_a_searched_depth_beyond_the_model_is_refused_before_training(tiny: TinyJob) -> None:
    depth = parameter("freezing.depth", int={"min": 1, "max": 4})
    error = refusal(tiny, searching(depth, freezing={"preset": "last-n", "depth": 1}))
    assert (error.reason, error.field) == (SCHEDULE_INVALID, "spec.search.parameters[0]")
    assert "freezing.depth with value 4" in error.message


def test_a_searched_selector_that_matches_nothing_is_refused_before_training(tiny: TinyJob) -> None:
    selector = parameter("freezing.phases[0].train[0]", choice={"values": ["head", "blocks[9]"]})
    error = refusal(tiny, searching(parameter(), selector, freezing={"phases": [phase()]}))
    assert (error.reason, error.field) == (SELECTOR_MATCHES_NOTHING, "spec.search.parameters[1]")


def test_a_schedule_must_fit_every_searched_model(tiny: TinyJob) -> None:
    error = refusal(tiny, searching(MODELS, freezing={"preset": "last-n", "depth": 3}))
    assert error.reason == SCHEDULE_INVALID
    assert "depth 3 is more than the 2 blocks" in error.message
    assert prepared(tiny, searching(MODELS, freezing={"preset": "last-n", "depth": 2}))


def test_the_key_of_all_inputs_follows_their_content(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    before = prepared(tiny).key()
    assert prepared(tiny, {"training.optimizer.lr": 0.5}).key() == before
    write_csv(tmp_path / "train.csv", labelled_texts(seed=3))
    assert prepared(tiny).key() != before


LORA: dict[str, Any] = {"model.adapter": {"method": "lora", "rank": 2}}


def test_an_adapter_is_in_the_layout(tiny: TinyJob) -> None:
    layout = prepared(tiny, LORA).layout
    assert len(layout.names(0, 2)) == 3 * 6 * 2
    assert layout.names(-1, -1) == []


def test_a_target_that_matches_nothing_is_refused_before_training(tiny: TinyJob) -> None:
    error = refusal(tiny, {"model.adapter": {"method": "lora", "targets": ["q_proj"]}})
    assert (error.reason, error.field) == (SELECTOR_MATCHES_NOTHING, "spec.model.adapter.targets")


def test_a_searched_target_that_matches_nothing_is_refused_before_training(tiny: TinyJob) -> None:
    target = parameter("model.adapter.targets[0]", choice={"values": ["query", "q_proj"]})
    error = refusal(tiny, searching(target, **{"model.adapter": {"method": "lora", "targets": ["query"]}}))
    assert (error.reason, error.field) == (SELECTOR_MATCHES_NOTHING, "spec.search.parameters[0]")
    assert "'q_proj' matches no linear layer" in error.message


@pytest.mark.parametrize(
    ("domain", "passes"),
    [
        ({"choice": {"values": [2, 4]}}, 4 * 8 // 2),
        ({"choice": {"values": [2]}}, 4 * 8),
        ({"int": {"min": 1, "max": 64}}, 4),
    ],
)
def test_only_trials_with_one_adapter_are_expected_to_share_the_cache(
    tiny: TinyJob, domain: dict[str, Any], passes: int
) -> None:
    changes = searching(parameter("model.adapter.rank", **domain), freezing={"preset": "head-only"}, **LORA)
    found = prepared(tiny, changes | {"search.trials": 8, "search.algorithm": {"name": "random"}})
    assert found.prefixes["file:model"].passes == {3: passes}
