"""What the page's scripts know, as plain values (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.trace.hops import Action
from nslab.views import journey as view
from nslab.views.graph.layout import Kind
from nslab.views.page.details import details

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.objects.base import State
    from nslab.trace.hops import Hop, Journey
    from nslab.views.graph.layout import Drawing
    from nslab.views.graph.model import End, Graph

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
            {"ends": [numbers.get(end) for end in one.ends], "points": one.points} if one.ends else None
            for one in drawing.lines
        ],
        "hosts": details(graph, state),
        "journeys": [_journey(one, numbers, drawing) for one in journeys],
    }


def _journey(one: Journey, numbers: dict[End, int], drawing: Drawing) -> dict[str, Any]:
    """A journey as `trace -o json` has it, and where each hop is in the picture."""
    plain = view.to_json(one)
    for hop, value, before in zip(one.hops, plain["hops"], [None, *plain["hops"][:-1]], strict=True):
        value["at"] = _place(hop, numbers, drawing)
        same = before and before["reply"] == value["reply"]
        value["was"] = value.get("before") or (before["packet"] if same else None)
        value["wasMark"] = before["mark"] if same else 0
        value["wasOuter"] = before.get("outer") if same and before["action"] != Action.DECAPSULATE else None
    told = [*view.asked_names(one), *view.findings(one), *one.notes]
    return {**plain, "told": told}


def _place(hop: Hop, numbers: dict[End, int], drawing: Drawing) -> int | None:
    """The shape at which a hop is; the switch's ports are not drawn, but its wire is."""
    routed = any(one.kind is Kind.ROUTER and one.host == hop.host for one in drawing.shapes)
    ends = [(hop.host, "" if hop.action in _INSIDE and routed else hop.dev), (hop.host, "")]
    wires = [number for number, one in enumerate(drawing.shapes) if one.kind is Kind.WIRE and one.host == hop.host]
    return next((numbers[end] for end in ends if end in numbers), wires[0] if wires else None)
