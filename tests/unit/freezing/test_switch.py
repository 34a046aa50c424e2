from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.tiny_models import family_model, token_ids
from thaw_api.training import OptimizerSpec
from thaw_api.triggers import UntilSpec
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import FrozenPolicy, set_trainable
from thaw_trainer.loop.optimizer import load_optimizer_tensors, optimizer_tensors, phase_optimizer, set_rates


class Block(nn.Module):
    """A layer with batch statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.linear(x)))  # type: ignore[no-any-return]


class Net(nn.Module):
    """Three blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([Block() for _ in range(3)])
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)  # type: ignore[no-any-return]

    def block(self, index: int) -> Block:
        found = self.blocks[index]
        assert isinstance(found, Block)
        return found


X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


PLAIN = FrozenPolicy()


def train_only(model: nn.Module, *selectors: str, policy: FrozenPolicy = PLAIN) -> frozenset[str]:
    layout = find_layout_once(model)
    train = select(layout, list(selectors), "spec.freezing.phases[0].train")
    set_trainable(model, layout, train, policy)
    return train


def find_layout_once(model: nn.Module) -> Any:
    """A model's layout is found before anything of it is frozen."""
    if "found" not in model.__dict__:
        model.__dict__["found"] = find_layout(model)
    return model.__dict__["found"]


def phase(train: frozenset[str], lr: float = 0.1) -> Phase:
    return Phase("p", train, UntilSpec(epochs=1), dict.fromkeys(train, lr))


def test_exactly_the_chosen_tensors_are_trainable() -> None:
    model = Net()
    train = train_only(model, "head", "blocks[-1:]")
    assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == train
    assert train_only(model, "stem") == {"stem.weight", "stem.bias"}
    assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == {"stem.weight", "stem.bias"}


def test_a_switch_leaves_no_gradient_behind() -> None:
    model = Net()
    train_only(model, "all")
    model(X).sum().backward()
    assert all(tensor.grad is not None for tensor in model.parameters())
    train_only(model, "head")
    assert all(tensor.grad is None for tensor in model.parameters())
    model.train()(X).sum().backward()
    assert {name for name, tensor in model.named_parameters() if tensor.grad is not None} == {
        "head.weight",
        "head.bias",
    }


def test_statistics_and_dropout_of_frozen_blocks_stand_still_whatever_calls_train() -> None:
    model = Net()
    train_only(model, "head", "blocks[-1:]")
    model.train()
    model.blocks.train(True)
    frozen, trained = model.block(0), model.block(2)
    assert frozen.norm.running_mean is not None
    assert trained.norm.running_mean is not None
    before = frozen.norm.running_mean.clone(), trained.norm.running_mean.clone()
    inside = model.block(1)(model.block(0)(model.stem(X)))
    assert torch.equal(inside, model.block(1)(model.block(0)(model.stem(X))))
    model(X)
    assert torch.equal(frozen.norm.running_mean, before[0])
    assert not torch.equal(trained.norm.running_mean, before[1])
    assert not any(module.training for module in frozen.modules())
    assert all(module.training for module in trained.modules())
    assert frozen.norm.num_batches_tracked is not None
    assert int(frozen.norm.num_batches_tracked) == 0


def test_what_is_thawed_follows_train_and_eval_again() -> None:
    model = Net()
    train_only(model, "head")
    train_only(model, "all")
    assert all(module.training for module in model.train().modules())
    assert not any(module.training for module in model.eval().modules())


def test_what_is_frozen_again_stands_still_again() -> None:
    model = Net()
    train_only(model, "all")
    model.train()
    train_only(model, "head")
    model.train()
    assert not any(module.training for module in model.block(2).modules())


def test_a_block_that_is_trained_in_part_is_in_train_mode_but_its_frozen_modules_are_not() -> None:
    model = Net()
    train_only(model, "~linear")
    model.train()
    assert model.block(0).dropout.training
    assert not model.block(0).norm.training


@pytest.mark.parametrize(
    ("family", "stack"), [("gpt2", "transformer"), ("bart", "model.encoder"), ("xlm", "transformer")]
)
def test_dropout_of_the_input_stands_still_while_the_lowest_block_is_frozen(family: str, stack: str) -> None:
    """These families drop out embeddings in the module that calls the blocks, not in one of the embeddings' own."""
    model = family_model(family)
    inputs: list[torch.Tensor] = []
    lowest = model.get_submodule(next(iter(find_layout_once(model).stacks.values()))[0])
    lowest.register_forward_pre_hook(lambda module, args, kwargs: inputs.append(args[0]), with_kwargs=True)
    train_only(model, "head", "blocks[-1:]")
    model.train()
    for _ in range(2):
        model(input_ids=token_ids())
    assert torch.equal(*inputs)
    assert not model.get_submodule(stack).training
    inputs.clear()
    train_only(model, "all")
    model.train()
    for _ in range(2):
        model(input_ids=token_ids())
    assert not torch.equal(*inputs)


def test_blocks_of_a_stack_with_a_frozen_block_still_follow_train_and_eval() -> None:
    model = family_model("gpt2")
    train_only(model, "head", "blocks[-1:]")
    block = model.get_submodule("transformer.h.2")
    model.train()
    assert all(module.training for module in block.modules())
    model.eval()
    assert not any(module.training for module in block.modules())


def optimizer_of(model: nn.Module, train: frozenset[str], previous: Any = None, **spec: Any) -> torch.optim.Optimizer:
    settings = OptimizerSpec.model_validate({"weightDecay": 0.1, **spec})
    return phase_optimizer(model, find_layout_once(model), phase(train), settings, previous)


def members(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    return [names[id(tensor)] for group in optimizer.param_groups for tensor in group["params"]]


def test_an_optimizer_has_each_trained_tensor_once_and_no_other() -> None:
    model = Net()
    train = train_only(model, "head", "blocks[-1:]")
    assert sorted(members(optimizer_of(model, train), model)) == sorted(train)


def test_weight_decay_acts_on_matrices_that_are_no_norms() -> None:
    model = family_model("bert")
    train = train_only(model, "all")
    decayed = {
        name
        for group in optimizer_of(model, train).param_groups
        if group["weight_decay"]
        for name in members_of(group, model)
    }
    assert decayed == {name for name in train if "LayerNorm" not in name and not name.endswith("bias")}


def members_of(group: dict[str, Any], model: nn.Module) -> list[str]:
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    return [names[id(tensor)] for tensor in group["params"]]


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(X).pow(2).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(("name", "moment"), [("adamw", "exp_avg"), ("sgd", "momentum_buffer")])
def test_moments_are_carried_over_a_switch_and_thawed_tensors_start_fresh(name: str, moment: str) -> None:
    model = Net()
    first = optimizer_of(model, train_only(model, "head", "stem"), name=name)
    take_step(model, first)
    carried = first.state[model.head.weight][moment].clone()
    second = optimizer_of(model, train_only(model, "head", "blocks"), first, name=name)
    assert torch.equal(second.state[model.head.weight][moment], carried)
    assert model.block(0).linear.weight not in second.state
    assert model.stem.weight not in second.state
    take_step(model, second)
    third = optimizer_of(model, train_only(model, "all"), second, name=name)
    assert model.stem.weight not in third.state, "frozen in between: it starts fresh"


def test_moments_that_were_written_down_are_the_same_when_read() -> None:
    model = Net()
    train = train_only(model, "all")
    first = optimizer_of(model, train)
    take_step(model, first)
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(first, model).items()}
    assert "exp_avg_sq/head.weight" in saved
    second = optimizer_of(model, train)
    load_optimizer_tensors(second, model, saved, train)
    assert optimizer_tensors(second, model).keys() == saved.keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in optimizer_tensors(second, model).items())


def test_moments_of_tensors_that_are_no_longer_trained_are_not_read() -> None:
    model = Net()
    first = optimizer_of(model, train_only(model, "all"))
    take_step(model, first)
    head = train_only(model, "head")
    second = optimizer_of(model, head)
    load_optimizer_tensors(second, model, optimizer_tensors(first, model), head)
    assert set(second.state) == {model.head.weight, model.head.bias}


def test_rates_are_each_groups_peak_times_the_factor() -> None:
    model = Net()
    train = train_only(model, "head", "stem")
    rates = {name: 0.2 if name.startswith("head") else 0.1 for name in train}
    optimizer = phase_optimizer(
        model, find_layout_once(model), Phase("p", train, UntilSpec(epochs=1), rates), OptimizerSpec(), None
    )
    set_rates(optimizer, 0.5)
    set_rates(optimizer, 0.25)
    found = {name: group["lr"] for group in optimizer.param_groups for name in members_of(group, model)}
    assert found == {name: rate / 4 for name, rate in rates.items()}
