"""What the page's scripts know, as plain values (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.trace.hops import Action
from nslab.views import journey as view
from nslab.views.graph.layout import Depicted
from nslab.views.page.details import details

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.objects.base import State
    from nslab.trace.hops import Hop, Journey
    from nslab.trace.wiring import End
    from nslab.views.graph.layout import Drawing
    from nslab.views.graph.model import Graph

_INSIDE = (Action.DNAT, Action.SNAT, Action.REVERSE_DNAT, Action.REVERSE_SNAT, Action.DROP, Action.REJECT)
"""What a host does to a packet by its rules, between its interfaces."""


def data(graph: Graph, state: State, drawing: Drawing, journeys: Sequence[Journey]) -> dict[str, Any]:
    """The whole. Shapes and lines have the order, and so the numbers, of the picture."""
    numbers = {one.end: number for number, one in enumerate(drawing.shapes)}
    return {
        "lab": graph.lab,
        "findings": None if graph.findings is None else [one.text for one in graph.findings],
        "shapes": [
            {"host": one.host, "dev": one.dev, "kind": one.kind, "name": one.name, "marks": one.marks}
            for one in drawing.shapes
        ],
        "lines": [
            {"ends": [*map(drawing.touched, one.ends, (one.points[0], one.points[-1]))], "points": one.points}
            for one in drawing.lines
            if one.ends
        ],
        "hosts": details(graph, state),
        "journeys": [_journey(one, numbers, drawing) for one in journeys],
    }


def _journey(one: Journey, numbers: dict[End, int], drawing: Drawing) -> dict[str, Any]:
    """A journey as `trace -o json` has it, with what each hop looks like in the picture and before it."""
    plain = view.to_json(one)
    hops = [*_hops(one.hops, plain["hops"], numbers, drawing), *_hops(one.relay, plain["relay"], numbers, drawing)]
    told = [*view.asked_names(one), *view.findings(one), *one.notes]
    return {
        **plain,
        "hops": [{**hop, "relay": number >= len(one.hops)} for number, hop in enumerate(hops)],
        "told": told,
    }


def _hops(
    hops: Sequence[Hop], values: Sequence[dict[str, Any]], numbers: dict[End, int], drawing: Drawing
) -> Iterator[dict[str, Any]]:
    """Each hop with its shape (`at`), and the headers and the mark before it."""
    before: dict[str, Any] = {}
    for hop, value in zip(hops, values, strict=True):
        before = before if before.get("reply") == hop.reply else {}
        yield {
            **value,
            "at": _place(hop, numbers, drawing),
            "was": value.get("before") or before.get("packet"),
            "wasMark": before.get("mark", 0),
            "wasOuter": None if before.get("action") == Action.DECAPSULATE else before.get("outer"),
        }
        before = value


def _place(hop: Hop, numbers: dict[End, int], drawing: Drawing) -> int | None:
    """The shape at which a hop is; the switch's ports are not drawn, but its wire is."""
    routed = any(one.kind is Depicted.ROUTER and one.host == hop.host for one in drawing.shapes)
    ends = [(hop.host, "" if hop.action in _INSIDE and routed else hop.dev), (hop.host, "")]
    wires = [number for number, one in enumerate(drawing.shapes) if one.kind is Depicted.WIRE and one.host == hop.host]
    return next((numbers[end] for end in ends if end in numbers), wires[0] if wires else None)
