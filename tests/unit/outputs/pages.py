"""A report as a test sees it: elements balanced, ids, references, text, plots."""

import re
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Page(HTMLParser):
    """A parsed page; raises AssertionError where a tag is not closed, or closed by another."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> where {self.open[-1]} is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        return " ".join(" ".join(self.texts).split())

    @property
    def plots(self) -> list[str]:
        """Descriptions of the plots, in order."""
        return [attributes["aria-label"] for tag, attributes in self.tags if tag == "svg"]

    def references(self) -> set[str]:
        """Ids that something in the page points to."""
        linked = [value[1:] for _, attributes in self.tags if (value := attributes.get("href", "")).startswith("#")]
        return {*linked, *re.findall(r"url\(#([^)]+)\)", self.html)}

    def addresses(self) -> set[str]:
        """What the page would load or link to."""
        names = ("src", "href", "xlink:href", "srcset", "data", "action")
        return {attributes[name] for _, attributes in self.tags for name in names if name in attributes}

    def svg(self, description: str) -> str:
        """The source of one plot."""
        start = self.html.index(f'aria-label="{description}"')
        return self.html[start : self.html.index("</svg>", start)]


def words(svg: str) -> list[str]:
    """The texts of a plot, in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)
