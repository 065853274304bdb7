"""The drawings of single machines: a node with all that is in it, a router, a client (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from nslab.quote import one_line
from nslab.views.graph.layout import Depicted, Drawing, Line, Rectangle, abridged, wide
from nslab.views.graph.model import BRIDGE, TUNNELS, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.wiring import NetworkInterface
    from nslab.views.graph.layout import Point
    from nslab.views.graph.model import Box, Graph

_Bar: TypeAlias = tuple[Depicted, str, str]


class _Parts(NamedTuple):
    """What stands in a machine, from above: `above` and `below` are its interfaces on the wires there."""

    pods: Drawing
    bars: list[_Bar]
    above: Sequence[NetworkInterface]
    rest: Sequence[NetworkInterface]
    below: Sequence[NetworkInterface]


PAD, GAP = 10.0, 16.0
_TITLE, _CHIP, _BAR = 22.0, 20.0, 26.0
_LANE = 40.0
_CELL = (112.0, 190.0)
"""The least and the greatest width of a pod."""
_WIDEST = 1180.0
"""Of the nodes of a row, with their pods."""
_ROWS = 7
"""The most rows of pods in a node; with more pods it gets wider."""


def label(one: NetworkInterface, most: int = 2) -> str:
    """An interface's name and addresses; of many addresses the first ones, and how many more."""
    shown = [one.name, *one.addresses[:most]]
    return " ".join([*shown, *([f"+{len(one.addresses) - most}"] if len(one.addresses) > most else [])])


def machine(graph: Graph, box: Box, share: int, above: Sequence[str], below: Sequence[str]) -> Drawing:
    """A machine. `share`: how many nodes stand beside each other; its interfaces on the wires `above` and `below`."""
    pods = _grid(graph, box, _WIDEST / share) if box.role is Role.NODE else Drawing(0, 0, ())
    bars = _bars(graph, box, (*above, *below))
    placed = {*above, *below, *(shape.dev for shape in pods.shapes if shape.host == box.host)}
    rest = [one for one in box.interfaces if one.name not in placed and one.kind not in (BRIDGE, *TUNNELS)]
    rows = [[one for one in box.interfaces if one.name in names] for names in (above, below)]
    lane = _LANE if rest or any(kind is Depicted.TUNNEL for kind, _, _ in bars) else 0
    widths = [sum(wide(label(one)) + 18 + PAD for one in row) + lane for row in (rest, *rows)]
    inner = max([pods.width, wide(box.name), *(wide(text) + 20 + lane for _, text, _ in bars), *widths])
    parts = _Parts(pods.moved((inner - pods.width) / 2, 0), bars, rows[0], rest, rows[1])
    return _stacked(graph, box, parts, inner, lane)


def _bars(graph: Graph, box: Box, uplinks: Sequence[str]) -> list[_Bar]:
    """The layers below the pods, each as wide as the machine: kind, text, interface."""
    if not box.routes:
        return []
    proxy = f" · kube-proxy ({graph.proxy})" if graph.proxy != "none" and box.role is Role.NODE else ""
    return [
        *((Depicted.BRIDGE, label(one), one.name) for one in box.of_kind(BRIDGE)),
        (Depicted.ROUTER, f"router{proxy}", ""),
        *(
            (Depicted.TUNNEL, f"overlay {label(one)}", one.name)
            for one in box.of_kind(*TUNNELS)
            if one.name not in uplinks
        ),
    ]


def _grid(graph: Graph, box: Box, room: float) -> Drawing:
    """A node's pods in rows, each above the node's end of its cable. `room`: how wide it may be, with few pods."""
    pods = graph.pods(box.host)
    if not pods:
        return Drawing(0, 0, ())
    cell = min(max([_CELL[0], *(max(map(wide, _texts(pod))) + 20 for pod in pods)]), _CELL[1])
    most = max(int(room / (cell + 20)), -(-len(pods) // _ROWS), 1)
    columns = -(-len(pods) // -(-len(pods) // most))
    rows = [pods[start : start + columns] for start in range(0, len(pods), columns)]
    gutter = 8.0 + 3 * len(rows)
    shapes: list[Rectangle] = []
    lines: list[Line] = []
    y = 0.0
    for row in rows:
        drawn = [_pod(graph, box, pod, cell) for pod in row]
        for column, one in enumerate(drawn):
            placed = one.moved(gutter + column * (cell + gutter), y)
            shapes += placed.shapes
            lines += placed.lines
        y += max(one.height for one in drawn) + 12
    return Drawing(columns * (cell + gutter) + gutter, y - 12, tuple(shapes), tuple(lines))


def _texts(pod: Box) -> list[str]:
    return [pod.name, *(_short(one) for one in pod.interfaces)]


def _short(one: NetworkInterface) -> str:
    """An interface of a pod: how long the prefix is is seen in its routes."""
    return " ".join([one.name, *(address.partition("/")[0] for address in one.addresses[:1])])


def _pod(graph: Graph, node: Box, pod: Box, cell: float) -> Drawing:
    """A pod with its interfaces, each above the node's end of its cable."""
    height = _TITLE + max(len(pod.interfaces), 1) * (_CHIP + 4) + 2
    shapes = [_outline(graph, pod, Depicted.POD, cell, height)]
    lines: list[Line] = []
    far = graph.far()
    ends = [far.get((pod.host, one.name)) for one in pod.interfaces]
    below = [end for end in ends if end and end[0] == node.host and end[1]]
    y = height + 12
    for number, (one, end) in enumerate(zip(pod.interfaces, ends, strict=True)):
        chip = _chip(graph, pod, one, 6, _TITLE + number * (_CHIP + 4), cell - 12, _short(one))
        shapes.append(chip)
        own = next((near for near in node.interfaces if end and (node.host, near.name) == end), None)
        if end and own:
            near = _chip(graph, node, own, 0, y, cell, own.name)
            x = cell / 2 if len(below) == 1 else 12.0 + 8 * number
            shapes.append(near)
            lines.append(Line(((x, chip.y + _CHIP), (x, y)), (chip.end, end)))
            y += _CHIP + 4
    return Drawing(cell, y - 4 if below else height, tuple(shapes), tuple(lines))


def _outline(graph: Graph, box: Box, kind: Depicted, width: float, height: float) -> Rectangle:
    text = abridged(one_line(box.name), width - 16)
    return Rectangle(
        kind, box.host, "", 0, 0, width, height, text, one_line(box.name), tuple(graph.marks(box.host, ""))
    )


def _chip(graph: Graph, box: Box, one: NetworkInterface, x: float, y: float, width: float, text: str) -> Rectangle:
    marks = tuple(graph.marks(box.host, one.name))
    shown = abridged(one_line(text), width - 8)
    return Rectangle(Depicted.INTERFACE, box.host, one.name, x, y, width, _CHIP, shown, one_line(label(one, 99)), marks)


def _stacked(graph: Graph, box: Box, parts: _Parts, inner: float, lane: float) -> Drawing:
    """A machine of its parts, from the upper wire down to the lower one."""
    y = _TITLE + 8
    shapes = [*_uplinks(graph, box, parts.above, inner, y)]
    y += _CHIP + GAP if parts.above else 0
    content = parts.pods.moved(PAD, y)
    shapes += content.shapes
    y += parts.pods.height + GAP + 6 if parts.pods.shapes else 0
    for kind, text, dev in parts.bars:
        marks = tuple(graph.marks(box.host, dev)) if dev else ()
        room = inner - (lane if kind is Depicted.TUNNEL else 0)
        shapes.append(
            Rectangle(kind, box.host, dev, PAD, y, room, _BAR, abridged(one_line(text), room - 8), text, marks)
        )
        y += _BAR + GAP
    shapes += _row(graph, box, parts.rest, y)
    y += _CHIP + GAP if parts.rest else 0
    shapes += _uplinks(graph, box, parts.below, inner - lane, y)
    size = inner + 2 * PAD, y + (_CHIP + 8 if parts.below or not parts.bars else 0)
    drawing = Drawing(*size, (_outline(graph, box, Depicted.HOST, *size), *shapes))
    return Drawing(
        *size, drawing.shapes, (*content.lines, *_inside(graph, box, drawing, [one.name for one in parts.below]))
    )


def _row(graph: Graph, box: Box, some: Sequence[NetworkInterface], y: float) -> Iterator[Rectangle]:
    """Interfaces beside each other."""
    x = PAD
    for one in some:
        shape = _chip(graph, box, one, x, y, wide(label(one)) + 14, label(one))
        x += shape.width + PAD
        yield shape


def _uplinks(graph: Graph, box: Box, chips: Sequence[NetworkInterface], room: float, y: float) -> Iterator[Rectangle]:
    """The interfaces on the wire, spread over the machine's width."""
    each = (room - (len(chips) - 1) * PAD) / max(len(chips), 1)
    for number, one in enumerate(chips):
        size = min(wide(label(one)) + 18, each)
        yield _chip(graph, box, one, PAD + number * (each + PAD) + (each - size) / 2, y, size, label(one))


def _inside(graph: Graph, box: Box, drawing: Drawing, uplinks: Sequence[str]) -> Iterator[Line]:
    """The lines inside a machine: from each interface to its bridge, or to the router."""
    yield from _unknown(graph, box, drawing)
    grid = [shape for shape in drawing.shapes if shape.kind is Depicted.INTERFACE and shape.host == box.host]
    tunnels = [shape for shape in drawing.shapes if shape.kind is Depicted.TUNNEL]
    lower = min([drawing.height, *(shape.y for shape in grid if shape.dev in uplinks)])
    for one, other in box.inside():
        near, far = drawing.shape((box.host, one)), drawing.shape((box.host, other))
        if near and far:
            between = [shape for shape in (*tunnels, *grid) if far.y < shape.y < lower]
            yield Line(_beside(near, far) if between and one in uplinks else _way(near, far, grid), (near.end, far.end))
    for tunnel in tunnels:
        for chip in (shape for shape in grid if shape.dev in uplinks):
            yield Line(((chip.top[0], tunnel.y + _BAR), chip.top), (tunnel.end, chip.end), dashed=True)


def _unknown(graph: Graph, box: Box, drawing: Drawing) -> Iterator[Line]:
    """The lines of pods that plugins have wired, nobody knows by which interface of the node."""
    far, ends = graph.far(), {shape.end for shape in drawing.shapes if shape.dev}
    router = drawing.shape((box.host, ""))
    pods = [shape for shape in drawing.shapes if shape.kind is Depicted.INTERFACE and shape.host != box.host]
    for chip in pods:
        if router and far.get(chip.end, chip.end) not in ends:
            yield Line(_way(chip, router, pods), (chip.end, router.end))


def _beside(near: Rectangle, far: Rectangle) -> tuple[Point, ...]:
    """The way from the wire to the router that does not pass through the overlay: in the lane right of it."""
    x, middle = far.x + far.width - _LANE / 2, near.y + near.height / 2
    return ((near.x + near.width, middle), (x, middle), (x, far.y + far.height))


def _way(near: Rectangle, far: Rectangle, grid: Sequence[Rectangle]) -> tuple[Point, ...]:
    """A line down or up between two shapes; past others that stand between, in the gutter left of them."""
    if near.y > far.y:
        return (near.top, (near.top[0], far.y + far.height))
    column = [one for one in grid if one.x == near.x and near.y < one.y < far.y]
    if not column:
        return (near.bottom, (near.bottom[0], far.y))
    x = near.x - 4 - 3 * len(column)
    middle = near.y + near.height / 2
    return ((near.x, middle), (x, middle), (x, far.y))
