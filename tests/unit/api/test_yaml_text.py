"""A manifest means on one machine what it means to kubectl; `tests/api/test_yaml.py` asks kubectl itself."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from thaw_api.yaml_text import read_documents, read_scalar


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("3e-4", 3e-4),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("2", 2),
        ("1_000", 1000),
        ("0x1F", 31),
        ("017", 15),
        ("0o17", 15),
        ("yes", True),
        ("On", True),
        ("n", False),
        ("OFF", False),
        ("~", None),
        ('"3e-4"', "3e-4"),
        ("'yes'", "yes"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("08:00", "08:00"),
        ("0x_", "0x_"),
        ("1e400", "1e400"),
        ("e3", "e3"),
        ("nO", "nO"),
    ],
)
def test_a_plain_scalar_is_what_kubectl_takes_it_for(written: str, meant: object) -> None:
    read = read_scalar(written)
    assert (read, type(read)) == (meant, type(meant))


def test_a_whole_number_stays_whole_and_a_float_stays_a_float() -> None:
    assert [type(value) for value in read_scalar("[4, 4.0, 4e0]")] == [int, float, float]


def test_a_number_too_large_for_64_bits_is_a_float() -> None:
    assert read_scalar("9223372036854775807") == 2**63 - 1
    assert isinstance(read_scalar("9223372036854775808"), float)


@pytest.mark.parametrize("text", ["a: 1\na: 2", "{a: 1, b: {c: 1, c: 1}}", "yes: 1\ntrue: 2"])
def test_a_key_that_comes_twice_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"key .* comes twice"):
        read_documents(text)


@pytest.mark.parametrize("text", ["{[a]: 1}", "{? {a: 1} : 2}", "{<<: {[a]: 1}}"])
def test_a_key_that_is_no_scalar_is_an_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="a key must be a scalar"):
        read_documents(text)


def test_an_anchor_stands_for_its_value() -> None:
    assert read_scalar("{a: &lr 3e-4, b: *lr}") == {"a": 3e-4, "b": 3e-4}


def test_a_merged_mapping_gives_what_is_not_written_out() -> None:
    text = """
    plain: &plain {epochs: 1, seed: 2}
    longer: &longer {<<: *plain, epochs: 9}
    longest: {batchSize: 4, <<: *longer}
    """
    assert read_documents(text) == [
        {
            "plain": {"epochs": 1, "seed": 2},
            "longer": {"epochs": 9, "seed": 2},
            "longest": {"batchSize": 4, "epochs": 9, "seed": 2},
        }
    ]


def test_documents_are_separate_and_empty_ones_do_not_count() -> None:
    assert read_documents("---\na: 1\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


@given(st.text("0123456789_+-.exXbBoO:yn~<=", max_size=8))
def test_a_scalar_is_read_or_refused_as_yaml(text: str) -> None:
    try:
        read = read_scalar(text)
    except yaml.YAMLError:
        return
    assert read is None or isinstance(read, str | int | float | bool | list | dict)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_back_as_itself(number: float) -> None:
    assert read_scalar(repr(number)) == number
