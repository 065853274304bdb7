"""Where things stand in the picture, in pixels (pure): shapes and the lines between them.

As the course draws it: a node is a box, its pods above, below them its router, the overlay layer, the host's interface,
and the wire that joins the nodes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass, replace
from nslab.views.table import width

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.trace.wiring import End

Point: TypeAlias = tuple[float, float]
CHARACTER = 6.7
"""The width of a character of the picture's monospaced font."""


class Depicted(StrEnum):
    """What a shape is drawn for."""

    HOST = "host"
    POD = "pod"
    INTERFACE = "interface"
    TUNNEL = "tunnel"
    BRIDGE = "bridge"
    ROUTER = "router"
    WIRE = "wire"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle with a text. `host`, `dev`: what it stands for; `name`: the text unabridged."""

    kind: Depicted
    host: str
    dev: str
    x: float
    y: float
    width: float
    height: float
    text: str
    name: str = ""
    marks: tuple[str, ...] = ()

    @property
    def end(self) -> End:
        """What it stands for."""
        return self.host, self.dev

    @property
    def top(self) -> Point:
        """The middle of its upper edge."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        """The middle of its lower edge."""
        return self.x + self.width / 2, self.y + self.height

    def moved(self, x: float, y: float) -> Rectangle:
        """The same elsewhere."""
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True, slots=True)
class Line:
    """A line between two shapes, of which packets take the way; without `ends` it is only drawn."""

    points: tuple[Point, ...]
    ends: tuple[End, End] | None = None
    dashed: bool = False

    def moved(self, x: float, y: float) -> Line:
        """The same elsewhere."""
        return replace(self, points=tuple((left + x, top + y) for left, top in self.points))


@dataclass(frozen=True, slots=True)
class Drawing:
    """A part of the picture, with its upper left corner at (0, 0), or the whole."""

    width: float
    height: float
    shapes: tuple[Rectangle, ...]
    lines: tuple[Line, ...] = ()

    def moved(self, x: float, y: float) -> Drawing:
        """Its shapes and lines elsewhere; its size stays."""
        shapes = tuple(one.moved(x, y) for one in self.shapes)
        return Drawing(self.width, self.height, shapes, tuple(one.moved(x, y) for one in self.lines))

    def shape(self, end: End) -> Rectangle | None:
        """The innermost shape that stands for an interface, or with "" for a host's routing."""
        return next((one for one in reversed(self.shapes) if one.end == end), None)

    def touched(self, end: End, point: Point) -> int | None:
        """The number of the innermost such shape that touches a point: a wire has one for each of its rows."""
        x, y = point
        found = [
            number
            for number, one in enumerate(self.shapes)
            if one.end == end and one.x <= x <= one.x + one.width and one.y <= y <= one.y + one.height
        ]
        return found[-1] if found else None


def joined(parts: Iterable[Drawing]) -> tuple[tuple[Rectangle, ...], tuple[Line, ...]]:
    """The shapes and lines of all parts."""
    every = [*parts]
    return tuple(one for part in every for one in part.shapes), tuple(one for part in every for one in part.lines)


def wide(text: str) -> float:
    """How wide a text is drawn."""
    return width(text) * CHARACTER


def abridged(text: str, room: float) -> str:
    """The text, cut so that it fits into so many pixels."""
    if wide(text) <= room:
        return text
    while text and wide(text) > room - CHARACTER:
        text = text[:-1]
    return f"{text}…"
