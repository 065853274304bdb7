"""The whole picture: the machines on each wire, the routers between wires, the Services and the findings (pure)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.quote import one_line
from nslab.views.graph.layout import Depicted, Drawing, Line, Rectangle, abridged, joined, wide
from nslab.views.graph.machines import label, machine
from nslab.views.graph.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.wiring import End, NetworkInterface
    from nslab.views.graph.model import Box, Difference, Graph

_MARGIN, _GAP, _DROP = 20.0, 24.0, 26.0
"""Around the picture, between machines, and from a machine down to its wire, in pixels."""
_WIRE, _ROW, _APART = 26.0, 20.0, 36.0
_MOST = 1650.0
"""The width from which on machines go into another row of the same wire."""


def place(graph: Graph, *, told: bool = True) -> Drawing:
    """The picture of a lab. `told`: the findings stand below it as sentences."""
    rows = [row for wire in graph.wires() for row in _rows(graph, *wire)]
    inner = max([row.width for row in rows] + [320.0])
    legs = _legs(graph)
    right = _MARGIN + inner
    total = right + sum(drawn.width + _GAP for drawn, _ in legs)
    placed: list[Drawing] = []
    y, tallest = _MARGIN, max((drawn.height for drawn, _ in legs), default=0)
    for row in rows:
        y += max(0, tallest + 2 * _DROP - _APART - row.height + _WIRE) if placed and legs else 0
        placed.append(_stretched(row, total - _MARGIN).moved(_MARGIN, y))
        y += row.height + _APART
    shapes, lines = joined(placed)
    network = Drawing(total, y - _APART, shapes, (*lines, *_again(shapes)))
    between = [*_between(network, legs, right)]
    findings = graph.findings if told else ()
    below = _below(graph, findings or (), network.height + 30, total - _MARGIN)
    shapes, lines = joined([network, *between, below])
    return Drawing(max(total, below.width) + _MARGIN, below.height + _MARGIN, shapes, lines)


def _rows(graph: Graph, switch: Box, bridge: NetworkInterface, plugged: Sequence[End]) -> Iterator[Drawing]:
    """The machines on a wire, in rows, with the wire below each."""
    boxes = {box.host: box for box in graph.boxes}
    machines = [(boxes[host], dev) for host, dev in plugged if boxes[host].role is not Role.ROUTER]
    share = min(max(len([box for box, _ in machines if box.role is Role.NODE]), 1), 3)
    drawn = [machine(graph, box, share, (), (dev,)) for box, dev in machines]
    row: list[tuple[End, Drawing]] = []
    for (box, dev), one in zip(machines, drawn, strict=True):
        if row and sum(part.width + _GAP for _, part in row) + one.width > _MOST:
            yield _row(graph, switch, bridge, row)
            row = []
        row.append(((box.host, dev), one))
    yield _row(graph, switch, bridge, row)


def _row(graph: Graph, switch: Box, bridge: NetworkInterface, machines: Sequence[tuple[End, Drawing]]) -> Drawing:
    tall = max([one.height for _, one in machines], default=0)
    parts, x, cables, tunnels = list[Drawing](), 0.0, list[Line](), list[Rectangle]()
    wire = switch.host, bridge.name
    for end, one in machines:
        part = one.moved(x, tall - one.height)
        parts.append(part)
        x += one.width + _GAP
        if chip := part.shape(end):
            cables.append(Line((chip.bottom, (chip.bottom[0], tall + _DROP)), (end, wire)))
        tunnels += (shape for shape in part.shapes if shape.kind is Depicted.TUNNEL)
    long = max(x - _GAP, wide(label(bridge)) + 80)
    name = f"{switch.name} {label(bridge)}"
    marks = (*graph.marks(switch.host, bridge.name), *graph.marks(switch.host, ""))
    shape = Rectangle(Depicted.WIRE, *wire, 0, tall + _DROP, long, _WIRE, one_line(name), one_line(name), marks)
    shapes, lines = joined(parts)
    return Drawing(long, tall + _DROP + _WIRE, (*shapes, shape), (*_overlay(tunnels), *lines, *cables))


def _overlay(tunnels: Sequence[Rectangle]) -> Iterator[Line]:
    """The tunnels between nodes beside each other."""
    for left, right in pairwise(tunnels):
        middle = left.y + left.height / 2
        if left.host != right.host:
            yield Line(((left.x + left.width, middle), (right.x, middle)), dashed=True)


def _stretched(row: Drawing, long: float) -> Drawing:
    """A row whose wire is as long as the picture."""
    shapes = tuple(replace(one, width=long) if one.kind is Depicted.WIRE else one for one in row.shapes)
    return Drawing(row.width, row.height, shapes, row.lines)


def _again(shapes: Sequence[Rectangle]) -> Iterator[Line]:
    """What joins the parts of one wire, where it has several rows."""
    wires = [one for one in shapes if one.kind is Depicted.WIRE]
    for above, below in pairwise(wires):
        if above.end == below.end:
            (x, left), (top, bottom) = (above.x, above.x - 12), (one.y + _WIRE / 2 for one in (above, below))
            yield Line(((x, top), (left, top), (left, bottom), (x, bottom)), (above.end, below.end))


def _legs(graph: Graph) -> list[tuple[Drawing, list[tuple[End, End]]]]:
    """Each router's drawing, and its cables: its interface, the wire."""
    found: dict[str, list[tuple[End, End]]] = {}
    for switch, bridge, plugged in graph.wires():
        for host, dev in plugged:
            found.setdefault(host, []).append(((host, dev), (switch.host, bridge.name)))
    return [
        (machine(graph, box, 1, *_sides([end[1] for end, _ in found[box.host]])), found[box.host])
        for box in graph.of_role(Role.ROUTER)
        if box.host in found
    ]


def _sides(devices: list[str]) -> tuple[list[str], list[str]]:
    """A router's interfaces on the first of its wires, which is above it, and on the others."""
    return devices[:1], devices[1:]


def _between(network: Drawing, legs: Sequence[tuple[Drawing, list[tuple[End, End]]]], x: float) -> Iterator[Drawing]:
    """The routers, each right of the machines, below the first of its wires."""
    for drawn, cables in legs:
        wires = [found for _, wire in cables if (found := network.shape(wire))]
        top = min(one.y for one in wires) + _WIRE + _DROP
        part = drawn.moved(x + _GAP, top)
        x += drawn.width + _GAP
        yield Drawing(0, 0, part.shapes, (*part.lines, *_plugged(part, cables, network)))


def _plugged(part: Drawing, cables: Sequence[tuple[End, End]], network: Drawing) -> Iterator[Line]:
    for end, wire in cables:
        chip, far = part.shape(end), network.shape(wire)
        if chip and far and far.y > chip.y:
            yield Line((chip.bottom, (chip.bottom[0], far.y)), (end, wire))
        elif chip and far:
            yield Line((chip.top, (chip.top[0], far.y + _WIRE)), (end, wire))


def _below(graph: Graph, findings: Sequence[Difference], y: float, room: float) -> Drawing:
    """The Services, and what differs."""
    rows = [(f"{one.name}  {one.reached}  → {one.behind}", one.name) for one in graph.services]
    texts = [(f"Services ({graph.proxy})", ""), *rows] if rows else []
    room = max([room, *(min(wide(text) + 24, _MOST) for text, _ in rows)])
    shapes = [
        Rectangle(Depicted.SERVICE, f"service/{name}" if name else "", "", _MARGIN, y + number * _ROW, room, _ROW,
              abridged(one_line(text), room - 12), one_line(text))
        for number, (text, name) in enumerate(texts)
    ]  # fmt: skip
    y += len(texts) * _ROW
    for number, one in enumerate(findings):
        text = f"! {one_line(one.text)}"
        where = y + 10 + number * _ROW
        shapes.append(
            Rectangle(
                Depicted.SERVICE, "", "", _MARGIN, where, room, _ROW, abridged(text, room - 12), text, (one.text,)
            )
        )
    return Drawing(room + _MARGIN, y + 10 + len(findings) * _ROW, tuple(shapes))
