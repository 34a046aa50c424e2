"""What goes on in frozen modules, and whether they are a pure function of their input then."""

from __future__ import annotations

import pytest
import torch

from tests.unit.freezing.test_switch import Net, X, find_layout_once, train_only
from tests.unit.tiny_models import family_model, token_ids
from thaw_trainer.freezing.switch import FrozenPolicy, modules_below

POLICIES = [FrozenPolicy(statistics, dropout) for statistics in (False, True) for dropout in (False, True)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_says_what_goes_on_in_frozen_modules(policy: FrozenPolicy) -> None:
    model = Net()
    train_only(model, "head", "blocks[-1:]", policy=policy)
    frozen, trained = model.block(0), model.block(2)
    assert frozen.norm.running_mean is not None
    for _ in range(2):
        before = frozen.norm.running_mean.clone()
        model.train()(X)
        assert torch.equal(frozen.norm.running_mean, before) != policy.statistics_move
        assert frozen.dropout.training == policy.dropout
        assert all(module.training for module in trained.modules())
        model.eval()
        assert not any(module.training for module in model.modules())
        statistics = frozen.norm.running_mean.clone()
        assert torch.equal(model(X), model(X))
        assert torch.equal(frozen.norm.running_mean, statistics)


@pytest.mark.parametrize("policy", POLICIES)
def test_frozen_modules_are_said_to_be_pure_just_when_they_are(policy: FrozenPolicy) -> None:
    model = Net()
    train = train_only(model, "head", "blocks[-1:]", policy=policy)
    below = modules_below(model, find_layout_once(model), train)
    assert below == [model.block(0), model.block(1), model.stem]
    model.train()

    def through(x: torch.Tensor) -> torch.Tensor:
        return model.block(1)(model.block(0)(model.stem(x)))  # type: ignore[no-any-return]

    depends_on_its_batch = not torch.equal(through(X)[:4], through(X[:4]))
    assert depends_on_its_batch == (policy.impurity(below) is not None)


def test_modules_without_running_statistics_are_pure_whatever_norms_do() -> None:
    model = family_model("bert")
    train = train_only(model, "head")
    below = modules_below(model, find_layout_once(model), train)
    assert FrozenPolicy(statistics_move=True).impurity(below) is None
    assert FrozenPolicy(statistics_move=True).impurity([]) is None
    assert FrozenPolicy(dropout=True).impurity(below) == "freezing.frozenDropout is on"


def test_a_stem_that_nothing_may_train_is_below_like_any_other() -> None:
    model = Net()
    model.stem.requires_grad_(False)
    train = train_only(model, "head")
    assert modules_below(model, find_layout_once(model), train) == [model.block(n) for n in range(3)] + [model.stem]


def test_nothing_is_below_a_stem_that_is_trained() -> None:
    model = Net()
    assert modules_below(model, find_layout_once(model), train_only(model, "stem")) == []


@pytest.mark.parametrize("dropout", [False, True])
def test_functional_dropout_of_frozen_blocks_follows_the_policy(dropout: bool) -> None:
    model = family_model("gpt2")
    train_only(model, "head", policy=FrozenPolicy(dropout=dropout))
    model.train()
    first, second = (model(input_ids=token_ids()).logits for _ in range(2))
    assert torch.equal(first, second) != dropout
