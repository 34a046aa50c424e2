"""Examples to tokens, and which of them count in the loss: all of a document, of a chat what the assistant says, of a
prompt with its completion the completion."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thaw_trainer.data.examples import Examples
from thaw_trainer.errors import DATA_INVALID, TrainerError

_MESSAGES = "spec.data.columns.messages"
_MARKS_THE_ASSISTANT = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class CountedTokens:
    """One row: `ids`, and for each whether predicting it counts. The first one is never predicted."""

    ids: list[int]
    counted: list[bool]

    @property
    def count(self) -> int:
        """How many tokens count."""
        return sum(self.counted[1:])

    def cut(self, longest: int) -> "CountedTokens":
        """The first tokens."""
        return CountedTokens(self.ids[:longest], self.counted[:longest])

    def pieces(self, longest: int) -> "list[CountedTokens]":
        """Rows of at most `longest` tokens. Each begins with the last token of the one before, so that every token but
        the very first is predicted once."""
        starts = range(0, max(1, len(self.ids) - 1), longest - 1)
        return [CountedTokens(self.ids[at : at + longest], self.counted[at : at + longest]) for at in starts]


def counted_tokens(tokenizer: Any, examples: Examples) -> list[CountedTokens]:
    """Each example's tokens, whole.

    Raises:
        TrainerError: DataInvalid: a chat that the tokenizer's template cannot say, or not so that the assistant's part
            is known.
    """
    kinds, texts = examples.columns["kind"], examples.columns["example"]
    rows: list[CountedTokens | None] = [None] * len(texts)
    plain = [row for row, kind in enumerate(kinds) if kind == "text"]
    if plain:  # at once: a fast tokenizer uses all cores
        found = tokenizer([texts[row] for row in plain], return_attention_mask=False, verbose=False)["input_ids"]
        for row, ids in zip(plain, found, strict=True):
            rows[row] = _ended(tokenizer, ids, [True] * len(ids))
    chats = _Chats(tokenizer) if "messages" in kinds else None
    for row, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        if kind == "completion":
            rows[row] = _completion(tokenizer, *json.loads(text))
        elif kind == "messages" and chats is not None:
            rows[row] = chats.tokens(json.loads(text), int(examples.ids[row]))
    return [row for row in rows if row is not None]


def _ended(tokenizer: Any, ids: list[int], counted: list[bool]) -> CountedTokens:
    """With the token that ends a text, which counts, where the tokenizer has one."""
    end = tokenizer.eos_token_id
    if end is None or ids[-1:] == [end]:
        return CountedTokens(ids, counted)
    return CountedTokens([*ids, end], [*counted, True])


def _completion(tokenizer: Any, prompt: str, completion: str) -> CountedTokens:
    """The pair as one text. What counts begins with the first token that the prompt by itself does not have: one that
    joins the prompt's last letters with the completion's first is of the completion."""
    ids, begun = (tokenizer(text, verbose=False)["input_ids"] for text in (prompt + completion, prompt))
    same = _same_beginning(ids, begun)
    return _ended(tokenizer, ids, [place >= same for place in range(len(ids))])


class _Chats:
    """The tokenizer's chat template, and how it says where the assistant speaks."""

    def __init__(self, tokenizer: Any) -> None:
        template = tokenizer.chat_template
        if not template:
            raise TrainerError(
                DATA_INVALID,
                "the model's tokenizer has no chat template: use a model that was made for chats, put a "
                "chat_template.jinja beside its tokenizer, or give prompt and completion",
                _MESSAGES,
            )
        if not tokenizer.is_fast:
            raise TrainerError(
                DATA_INVALID,
                "the model's tokenizer does not say which letters a token is of: it has no tokenizer.json",
                _MESSAGES,
            )
        self._tokenizer = tokenizer
        self._marked = isinstance(template, str) and _MARKS_THE_ASSISTANT.search(template) is not None

    def tokens(self, chat: list[dict[str, Any]], row: int) -> CountedTokens:
        """A chat's tokens; those of the assistant's turns count, with what ends each turn."""
        try:
            text, spans = self._marked_text(chat) if self._marked else self._told_apart(chat, row)
        except TrainerError:
            raise
        except Exception as error:  # templates raise what they like
            raise TrainerError(
                DATA_INVALID, f"the chat template refuses row {row}: {type(error).__name__}: {error}", _MESSAGES
            ) from error
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = found["offset_mapping"]
        return CountedTokens(found["input_ids"], [_overlaps(start, end, spans) for start, end in offsets])

    def _text(self, chat: list[dict[str, Any]], turns: int, asks: bool = False) -> str:
        """The first turns as text; `asks`: and the beginning of an answer."""
        text: str = self._tokenizer.apply_chat_template(chat[:turns], tokenize=False, add_generation_prompt=asks)
        return text

    def _marked_text(self, chat: list[dict[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
        """A chat's text and where the template says that the assistant speaks. (The mask that the tokenizer makes of
        the same takes all that follows for the assistant's, where a marked part ends with a space that is of no
        token.)"""
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, spans = render_jinja_template(
            conversations=[chat],
            chat_template=self._tokenizer.chat_template,
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return texts[0], spans[0]

    def _told_apart(self, chat: list[dict[str, Any]], row: int) -> tuple[str, list[tuple[int, int]]]:
        """A chat's text and where the assistant speaks in it: what a turn adds to the turns before it and the beginning
        of an answer, provided that neither changes for later turns."""
        whole, spans = self._text(chat, len(chat)), []
        for number, turn in enumerate(chat):
            if turn["role"] != "assistant":
                continue
            before, until = self._text(chat, number), self._text(chat, number + 1)
            if not (until.startswith(before) and whole.startswith(until)):
                raise TrainerError(
                    DATA_INVALID,
                    f"the chat template writes turn {number} of row {row} otherwise when other turns follow, so what "
                    "the assistant says cannot be told; a template with {% generation %} around it says so itself",
                    _MESSAGES,
                )
            # What the template puts in front of an answer is not the assistant's, as far as the answer begins with it:
            # some ask for reasoning there, which the turn does not have.
            asked = _same_beginning(self._text(chat, number, asks=True), until)
            spans.append((max(len(before), asked), len(until)))
        return whole, spans


def _same_beginning(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many items from the first on are the same."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _overlaps(start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < last and end > first for first, last in spans)
