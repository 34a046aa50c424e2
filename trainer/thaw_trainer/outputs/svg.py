"""A matplotlib figure as SVG inside a page: the page's fonts and colours, ids that no other plot of the page has."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

INK, MUTED, LINE, ACCENT, PAPER = "#101011", "#707071", "#d0d0d1", "#1060b1", "#fefefd"
"""Stand-ins: in the page each becomes the custom property of its name, so that plots follow light and dark."""

_PROPERTIES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", PAPER: "--paper"}
_POINTS_PER_INCH = 72

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": [
        "DejaVu Sans"
    ],  # comes with matplotlib and is wide: other fonts fit where it is measured to fit
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Plot:
    """An SVG element and its natural size in CSS pixels."""

    svg: str
    width: int
    height: int


def draw(
    name: str, description: str, width: int, height: int, paint: Callable[[Any], None], crop: bool = False
) -> Plot:
    """A plot of this size.

    Args:
        name: prefix of every id in it; each plot of a page has its own.
        description: what a screen reader says.
        paint: draws into an empty matplotlib Figure.
        crop: takes away what is left empty at the sides; the size is then smaller.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH), layout="constrained")
        paint(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight" if crop else None, pad_inches=0.03)
    svg = _for_a_page(ElementTree.fromstring(drawn.getvalue()), name, description)
    _, _, width, height = (round(float(side)) for side in svg.attrib["viewBox"].split())
    return Plot(ElementTree.tostring(svg, encoding="unicode"), width, height)


def _for_a_page(root: ElementTree.Element, name: str, description: str) -> ElementTree.Element:
    for parent in root.iter():
        for child in list(parent):
            # matplotlib's style element would act on the whole page.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _attribute(_local(key), value, name) for key, value in element.attrib.items()}
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description}
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = re.sub(r"url\(#", f"url(#{name}-", value)
    return re.sub(r"#[0-9a-f]{6}", lambda found: _property(found[0]), value) if key == "style" else value


def _property(colour: str) -> str:
    return f"var({_PROPERTIES[colour]})" if colour in _PROPERTIES else colour
