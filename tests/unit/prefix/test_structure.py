from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.prefix.structure import UnknownStructure, describe, nothing, rebuild, tensor_specs

TENSORS = st.builds(
    lambda shape, dtype: torch.zeros(shape, dtype=dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
)
OUTPUTS = st.recursive(
    TENSORS | st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left is right
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right and type(left) is type(right))


@given(OUTPUTS)
def test_a_structure_is_json_and_gives_the_output_back(output: Any) -> None:
    structure, tensors = describe(output)
    structure = json.loads(json.dumps(structure))
    assert same(output, rebuild(structure, tensors))
    assert [spec["shape"] for spec in tensor_specs(structure)] == [list(tensor.shape) for tensor in tensors]


@pytest.mark.parametrize("writable", [False, True])
def test_nothing_is_nan_of_the_same_shape(writable: bool) -> None:
    structure, _ = describe((torch.zeros(2, 3), None, {"bias": torch.ones(1, dtype=torch.int64)}))
    hidden, none, rest = nothing(structure, torch.device("cpu"), writable)
    assert hidden.shape == (2, 3)
    assert torch.isnan(hidden).all()
    assert none is None
    assert rest["bias"].tolist() == [0]


def test_an_output_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(UnknownStructure, match="set"):
        describe((torch.zeros(1), {1, 2}))
