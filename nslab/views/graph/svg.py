"""The picture as SVG: light or dark as the reader's system is, with a title and a description for screen readers."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.quote import one_line
from nslab.views.graph.colours import filled
from nslab.views.graph.layout import Depicted
from nslab.views.graph.place import place
from nslab.views.graph.text import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.views.graph.layout import Drawing, Line, Rectangle
    from nslab.views.graph.model import Graph

_ROUND = {
    Depicted.POD: 8,
    Depicted.HOST: 10,
    Depicted.ROUTER: 8,
    Depicted.INTERFACE: 4,
    Depicted.TUNNEL: 4,
    Depicted.BRIDGE: 4,
}
_TITLED = (Depicted.HOST, Depicted.POD)
_LEFT = (Depicted.SERVICE, *_TITLED)
"""Kinds whose text begins at the left."""


def svg(graph: Graph) -> str:
    """A whole file."""
    return drawn(graph, place(graph), head=f"<style>\n{filled(style())}</style>") + "\n"


def drawn(graph: Graph, drawing: Drawing, *, role: str = "img", head: str = "") -> str:
    """The element. `role`: for screen readers; `head`: what it contains first, such as its style."""
    wide, tall = f"{drawing.width:.0f}", f"{drawing.height:.0f}"
    size = f'width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}"'
    told = f'role="{role}" aria-labelledby="picture-title" aria-describedby="picture-desc"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" {size} {told}>',
        f'<title id="picture-title">{_text(graph.title)}</title>',
        f'<desc id="picture-desc">{"&#10;".join(map(_text, text(graph).splitlines()))}</desc>',
        head,
        *_elements(drawing),
        "</svg>",
    ]
    return "\n".join(filter(None, lines))


def _elements(drawing: Drawing) -> Iterator[str]:
    """Boxes first, then the lines over them, then what stands in the boxes."""
    numbered = [*enumerate(drawing.shapes)]
    yield from (_shape(number, one) for number, one in numbered if one.kind in _TITLED)
    yield from (_line(number, one) for number, one in enumerate(drawing.lines))
    yield from (_shape(number, one) for number, one in numbered if one.kind not in _TITLED)


def _line(number: int, one: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in one.points)
    kind = "line dashed" if one.dashed else "line"
    return f'<polyline id="line-{number}" class="{kind}" points="{points}"/>'


def _shape(number: int, one: Rectangle) -> str:
    """A rectangle with its text; what is abridged or differs is told whole in its title."""
    kinds = f"shape {one.kind}{' differs' * bool(one.marks)}"
    round_by = _ROUND.get(one.kind, 3)
    x = one.x + 8 if one.kind in _LEFT else one.x + one.width / 2
    y = one.y + (16 if one.kind in _TITLED else one.height / 2 + 4)
    told = "; ".join([one.name or one.text, *one.marks])
    badge = _badge(one.x + one.width, one.y) if one.marks and one.kind is not Depicted.SERVICE else ""
    return (
        f'<g id="shape-{number}" class="{kinds}"><title>{_text(told)}</title>'
        f'<rect x="{one.x:.1f}" y="{one.y:.1f}" width="{one.width:.1f}" height="{one.height:.1f}" rx="{round_by}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}">{_text(one.text)}</text>{badge}</g>'
    )


def _badge(x: float, y: float) -> str:
    """A sign at the corner of what differs, for who sees no red."""
    return (
        f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="7"/><text class="mark" x="{x:.1f}" y="{y + 4:.1f}">!</text>'
    )


def _text(words: str) -> str:
    """A text within an element or an attribute, without the control characters that XML has no place for."""
    return escape(one_line(words))


@cache
def style() -> str:
    """The picture's style sheet, with variables for the colours."""
    return Path(__file__).with_name("picture.css").read_text(encoding="utf-8")
