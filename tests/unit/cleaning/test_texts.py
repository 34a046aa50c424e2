"""Steps about text."""

from __future__ import annotations

import html

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cleaning.tables import cleaned, texts_after
from thaw_trainer.cleaning.texts import text_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<p>one</p><p>two &amp; three</p>", "one\ntwo & three"),
        ("a <b>bold</b> word", "a bold word"),
        ("before<br>after", "before\nafter"),
        ("<script>alert('x < y')</script>text<style>p {}</style>", "text"),
        ("<!-- hidden -->seen", "seen"),
        ("returns <class 'int'> if a < b and c > d", "returns <class 'int'> if a < b and c > d"),
        ("list<string> and </string>", "list<string> and </string>"),
        ("<![CDATA[hi]]> z", "hi z"),
        ("x <![foo] y", "x <![foo] y"),
        ("caf&eacute; &#8212; 5 &lt; 6", "café — 5 < 6"),
        ("<ul>\n <li>x</li>\n <li>y</li>\n</ul>", "x\ny"),
    ],
)
def test_html_is_its_text(text: str, shown: str) -> None:
    assert texts_after("stripHtml", {}, text) == [shown]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1))
def test_what_is_escaped_in_html_is_itself_again(text: str) -> None:
    assert text_of(f"<p>{html.escape(text)}</p>") == text


def test_mojibake_is_undone_and_unusual_text_stays() -> None:
    broken = "naïve café — “so”".encode().decode("windows-1252", "replace")
    assert texts_after("normalize", {}, "cafÃ© Ã  la carte", "“ﬁ” ＡＢ") == ["café à la carte", "“ﬁ” ＡＢ"]
    assert texts_after("normalize", {"mojibake": False}, "cafÃ©") == ["cafÃ©"]
    assert broken != "naïve café — “so”"


def test_forms_and_white_space_are_one() -> None:
    assert texts_after("normalize", {}, "e\u0301", " a\u00a0\t b \n\n c ", None) == ["é", "a b\n\nc", None]
    assert texts_after("normalize", {"form": "NFKC"}, "ﬁ ²") == ["fi 2"]
    assert texts_after("normalize", {"whitespace": False}, " a  b ") == [" a  b "]


@settings(deadline=None)  # ftfy is imported by the first one
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_without_double_spaces_is_left_alone(text: str) -> None:
    plain = " ".join(text.split())
    assert texts_after("normalize", {}, plain) == [plain]


def test_lengths_are_in_characters_and_both_ends_belong() -> None:
    assert texts_after("textLength", {"min": 2, "max": 3}, "a", "éé", "abc", "abcd", None) == ["éé", "abc"]


def test_languages_that_are_asked_for_stay() -> None:
    texts = (
        "The weather in the mountains changes quickly in the afternoon.",
        "Das Wetter in den Bergen ändert sich am Nachmittag sehr schnell.",
        "Le temps en montagne change rapidement dans l'après-midi.",
    )
    assert texts_after("language", {"keep": ["en", "fr"]}, *texts) == [texts[0], texts[2]]
    assert texts_after("language", {"keep": ["en", "af"]}, texts[0], "", "123 456", None) == [texts[0]]


def test_changed_rows_are_counted_once() -> None:
    table = {"text": ["a  b", "c", "d  e"], "title": ["x  y", "x  y", "z"], "label": ["0"] * 3}
    _, told = cleaned("normalize", {"columns": ["text", "title"]}, table)
    assert told == {"step": "normalize", "dropped": 0, "changed": 3, "rows": 3}
