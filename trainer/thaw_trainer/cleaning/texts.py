"""Steps about text: one form for it, the text in HTML, its length, its language."""

import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from typing import Any, Literal

import polars as pl

from thaw_api.cleaning import Language, Normalize, StripHtml, TextLength
from thaw_trainer.cleaning.frames import Frames, Kept, Naming

_NOT_PLAIN = r"[^\x20-\x7e\t\n\r]"
"""What text may be repaired for: all else is itself in every encoding and form."""
_INLINE = frozenset(
    re.findall(
        r"\w+",
        "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark q s samp small span strike strong "
        "sub sup time tt u var wbr",
    )
)
"""Elements of HTML within a line."""
_ELEMENTS = _INLINE | frozenset(
    re.findall(
        r"\w+",
        "address applet area article aside audio base blockquote body br button canvas caption center col colgroup "
        "datalist dd details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 "
        "h4 h5 h6 head header hgroup hr html iframe img input label legend li link main map menu meta meter nav "
        "noscript object ol optgroup option output p param picture pre progress rp rt ruby script section select "
        "source style summary svg table tbody td template textarea tfoot th thead title tr track ul video",
    )
)
_LETTER = re.compile(r"[^\W\d_]")
_UNSEEN = ("script", "style", "template")


def normalize(frame: pl.DataFrame, options: Normalize, names: Naming) -> list[pl.Series]:
    """Text in one form; see Normalize."""
    return [_normalized(frame[name], options) for name in names.text(frame, options.columns)]


def _normalized(text: pl.Series, options: Normalize) -> pl.Series:
    if options.mojibake:
        text = _changed(text, _NOT_PLAIN, lambda value: _repaired(value, options.form))
    text = text.str.normalize(options.form)
    if options.whitespace:
        text = text.str.replace_all(r"[^\S\n]+", " ").str.replace_all(r" ?\n ?", "\n").str.strip_chars()
    return text


def _repaired(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Mojibake undone, what no text has removed; what is only unusual (quotes, ligatures, widths) stays."""
    import ftfy  # half a second that only this step needs

    return ftfy.fix_text(
        text,
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        normalization=form,
        explain=False,
    )


def strip_html(frame: pl.DataFrame, options: StripHtml, names: Naming) -> list[pl.Series]:
    """The text of HTML; see StripHtml."""
    return [_changed(frame[name], "[<&]", text_of) for name in names.text(frame, options.columns)]


class _Text(HTMLParser):
    """Gathers what a page shows as text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins: one that is none is text."""
        if tag in _UNSEEN:
            self._unseen.append(tag)
        else:
            self._tag(tag, self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that is empty."""
        self._tag(tag, self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        else:
            self._tag(tag, f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Text."""
        self._add(data)

    def unknown_decl(self, data: str) -> None:
        """CDATA, which is text."""
        self._add(data.removeprefix("CDATA["))

    def _tag(self, tag: str, written: str) -> None:
        if tag not in _ELEMENTS:
            self._add(written)
        elif tag not in _INLINE:
            self._add("\n")

    def _add(self, text: str) -> None:
        if not self._unseen:
            self.parts.append(text)


def text_of(html: str) -> str:
    """The text of HTML, its blocks on lines of their own."""
    parser = _Text()
    try:
        parser.feed(html)
        parser.close()
    except AssertionError:  # what the parser says of declarations that are none
        return html
    return re.sub(r"[^\S\n]*\n\s*", "\n", "".join(parser.parts)).strip()


def keep_lengths(frames: Frames, options: TextLength, names: Naming) -> Kept:
    """Rows whose texts have so many characters."""
    kept = {}
    for source, frame in frames.items():
        fits = [
            pl.col(name).str.len_chars().fill_null(0).is_between(options.min, options.max or 2**31 - 1)
            for name in names.text(frame, options.columns)
        ]
        kept[source] = frame.select(pl.all_horizontal(fits)).to_series()
    return kept


def keep_languages(frames: Frames, options: Language, names: Naming) -> Kept:
    """Rows in one of some languages."""
    wanted = set(options.keep)
    classify = _language_identifier()
    kept = {}
    for source, frame in frames.items():
        texts = names.joined(frame, options.columns)
        kept[source] = pl.Series(
            [bool(text) and _LETTER.search(text) is not None and classify(text)[0] in wanted for text in texts],
            dtype=pl.Boolean,
        )
    return kept


@cache
def _language_identifier() -> Any:
    import py3langid  # seconds that only this step needs

    return py3langid.classify


def _changed(texts: pl.Series, touched: str, change: Callable[[str], str]) -> pl.Series:
    """Texts of which those that have a match of a pattern are changed."""
    places = texts.str.contains(touched).fill_null(False).arg_true()
    return texts.scatter(places, pl.Series([change(text) for text in texts.gather(places)], dtype=pl.String))
