"""The picture as a tree of text: what is plugged into the switch, and below each node its pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.quote import one_line
from nslab.views.graph.model import BRIDGE, TUNNELS, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.wiring import End, NetworkInterface
    from nslab.views.graph.model import Box, Graph

_MARK = "  (!)"
"""Behind what differs from the desired state."""


def text(graph: Graph) -> str:
    """The picture; the findings stand below it."""
    lines = [graph.title, ""]
    for switch, bridge, plugged in graph.wires():
        lines.append(f"{switch.name}  {_interface(graph, switch, bridge)}")
        lines += _tree([_machine(graph, end) for end in plugged])
    if graph.services:
        rows = [(one.name, one.reached) for one in graph.services]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["", f"Services ({graph.proxy} mode)"]
        lines += [f"  {one.name:<{wide[0]}}  {one.reached:<{wide[1]}}  -> {one.behind}" for one in graph.services]
    return "\n".join(map(one_line, (*lines, *_findings(graph)))) + "\n"


def _findings(graph: Graph) -> list[str]:
    if graph.findings is None:
        return []
    if not graph.findings:
        return ["", f"{graph.lab} is as it should be"]
    return ["", "not as it should be (!)", *(f"  {one.text}" for one in graph.findings)]


def _tree(branches: Sequence[Sequence[str]]) -> Iterator[str]:
    """Branches, each a line and those below it, hung onto the line above."""
    for number, (line, *below) in enumerate(branches, 1):
        last = number == len(branches)
        yield f"{'└─' if last else '├─'} {line}"
        yield from (f"{'  ' if last else '│ '} {one}" for one in below)


def _machine(graph: Graph, end: End) -> list[str]:
    """A machine on the wire with its interfaces; a router has one such line on each of its wires."""
    box = next(box for box in graph.boxes if box.host == end[0])
    own = next(one for one in box.interfaces if one.name == end[1])
    what = f"   {box.role}" if box.role in (Role.CLIENT, Role.ROUTER) else ""
    head = f"{box.name}  {_interface(graph, box, own)}{what}{_MARK * bool(graph.marks(box.host, ''))}"
    return [head, *_tree([*_inner(graph, box, own)])]


def _inner(graph: Graph, box: Box, uplink: NetworkInterface) -> Iterator[list[str]]:
    """A node's other interfaces, a bridge with its ports, and the pods without a cable."""
    if box.role is not Role.NODE:
        return
    cables = graph.far()
    for one in box.interfaces:
        if one != uplink and not one.bridge:
            ports = [port for port in box.interfaces if one.kind == BRIDGE and port.bridge == one.name]
            yield [_joined(graph, box, one), *_tree([[_joined(graph, box, port)] for port in ports])]
    seen = {cables[box.host, one.name][0] for one in box.interfaces if (box.host, one.name) in cables}
    for pod in graph.pods(box.host):
        if pod.host not in seen:
            yield [_pod(graph, pod, pod.interfaces)]


def _joined(graph: Graph, box: Box, one: NetworkInterface) -> str:
    """An interface, with the pod at the other end of its cable."""
    head = _interface(graph, box, one)
    far = graph.far().get((box.host, one.name))
    pod = next((pod for pod in graph.boxes if far and pod.host == far[0]), None)
    if not far or not pod:
        return head
    return f"{head} ── {_pod(graph, pod, [end for end in pod.interfaces if end.name == far[1]])}"


def _pod(graph: Graph, pod: Box, ends: Sequence[NetworkInterface]) -> str:
    shown = ", ".join(_interface(graph, pod, end) for end in ends)
    return f"{pod.name}{_MARK * bool(graph.marks(pod.host, ''))}  {shown}".rstrip()


def _interface(graph: Graph, box: Box, one: NetworkInterface) -> str:
    kind = f" ({one.kind})" if one.kind in TUNNELS else ""
    words = [f"{one.name}{kind}", *one.addresses]
    return f"{' '.join(words)}{_MARK * bool(graph.marks(box.host, one.name))}"
