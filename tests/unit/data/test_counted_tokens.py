"""Which tokens are learned: all of a document, the assistant's part of a chat, the completion of a prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny_causal import MARKED, TEMPLATE, save_causal_tokenizer
from thaw_trainer.data.counted_tokens import CountedTokens, counted_tokens
from thaw_trainer.data.examples import Examples
from thaw_trainer.errors import TrainerError
from thaw_trainer.models.pretrained import load_tokenizer

CHAT = [
    {"role": "system", "content": "old"},
    {"role": "user", "content": "red green"},
    {"role": "assistant", "content": "blue warm"},
    {"role": "user", "content": "cold"},
    {"role": "assistant", "content": "round"},
]


def tokens_of(tokenizer: Any, kind: str, example: Any) -> CountedTokens:
    text = example if kind == "text" else json.dumps(example)
    (found,) = counted_tokens(tokenizer, Examples({"kind": [kind], "example": [text]}, np.arange(1)))
    return found


def said(tokenizer: Any, found: CountedTokens) -> list[str]:
    """The tokens that count."""
    pairs = zip(found.ids, found.counted, strict=True)
    return [tokenizer.convert_ids_to_tokens(token) for token, counts in pairs if counts]


def tokenizer_with(folder: Path, template: str | None = None) -> Any:
    save_causal_tokenizer(folder, template)
    return load_tokenizer(folder)


def test_a_document_counts_to_its_end(tmp_path: Path) -> None:
    tokenizer = tokenizer_with(tmp_path)
    found = tokens_of(tokenizer, "text", "red green")
    assert said(tokenizer, found) == ["red", "green", "[SEP]"]
    assert found.count == 2, "nothing predicts the first token"


def test_of_a_completion_the_completion_counts_and_its_end(tmp_path: Path) -> None:
    tokenizer = tokenizer_with(tmp_path)
    found = tokens_of(tokenizer, "completion", ["red green", " blue"])
    assert said(tokenizer, found) == ["blue", "[SEP]"]


def test_a_token_that_joins_prompt_and_completion_is_the_completions(tmp_path: Path) -> None:
    tokenizer = tokenizer_with(tmp_path)
    assert said(tokenizer, tokens_of(tokenizer, "completion", ["red gre", "en blue"])) == ["green", "blue", "[SEP]"]


@pytest.mark.parametrize("template", [TEMPLATE, MARKED])
def test_of_a_chat_the_assistants_turns_count_with_their_ends(tmp_path: Path, template: str) -> None:
    tokenizer = tokenizer_with(tmp_path, template)
    found = tokens_of(tokenizer, "messages", CHAT)
    assert said(tokenizer, found) == ["blue", "warm", "[SEP]", "round", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(found.ids)[:3] == ["[CLS]", "system", "old"]


def test_what_a_template_puts_before_an_answer_does_not_count_also_where_it_asks_for_more(tmp_path: Path) -> None:
    reasons = TEMPLATE.replace("[CLS] assistant {% endif %}", "[CLS] assistant far {% endif %}")
    tokenizer = tokenizer_with(tmp_path, reasons)
    assert said(tokenizer, tokens_of(tokenizer, "messages", CHAT)) == ["blue", "warm", "[SEP]", "round", "[SEP]"]


def test_a_template_that_writes_earlier_turns_otherwise_is_refused(tmp_path: Path) -> None:
    forgets = TEMPLATE.replace("{{ message.content }}", "{{ message.content if loop.last else 'old' }}")
    with pytest.raises(TrainerError, match=r"turn 2 of row 0 otherwise .* generation") as caught:
        tokens_of(tokenizer_with(tmp_path, forgets), "messages", CHAT)
    assert caught.value.field == "spec.data.columns.messages"


def test_a_tokenizer_without_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no chat template"):
        tokens_of(tokenizer_with(tmp_path), "messages", CHAT)


def test_what_a_template_raises_is_the_datas_fault(tmp_path: Path) -> None:
    raising = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(TrainerError, match=r"refuses row 0: .*roles must alternate"):
        tokens_of(tokenizer_with(tmp_path, raising), "messages", CHAT)


@given(st.integers(1, 200), st.integers(2, 40))
def test_pieces_predict_every_token_but_the_first_once(length: int, longest: int) -> None:
    whole = CountedTokens(list(range(length)), [True] * length)
    pieces = whole.pieces(longest)
    assert all(len(piece.ids) <= longest for piece in pieces)
    assert [token for piece in pieces for token in piece.ids[1:]] == list(range(1, length))
    assert sum(piece.count for piece in pieces) == whole.count
