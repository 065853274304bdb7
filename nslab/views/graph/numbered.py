"""Numbers for the hosts and interfaces of a picture: identifiers in languages where names could mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.views.graph.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.wiring import End, NetworkInterface
    from nslab.views.graph.model import Box, Graph


class Numbered:
    """The nodes and edges of a picture; of the switch only its bridges are drawn, not their ports."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._far = graph.far()
        self._boxes = {box.host: f"b{number}" for number, box in enumerate(graph.boxes)}
        self._ends = {end: f"i{number}" for number, end in enumerate(self._all())}

    def box(self, host: str) -> str:
        """A host's identifier."""
        return self._boxes[host]

    def end(self, host: str, dev: str) -> str:
        """An interface's identifier; "" for the host's routing."""
        return self._ends[host, dev]

    def ends(self) -> Iterator[End]:
        """All that is drawn."""
        yield from self._ends

    def drawn(self, box: Box) -> tuple[NetworkInterface, ...]:
        """The interfaces of a host that are drawn."""
        return tuple(one for one in box.interfaces if box.role is not Role.SWITCH or not one.bridge)

    def has_middle(self, box: Box) -> bool:
        """Whether something is drawn for the host besides its interfaces: its routing, or where it has none of them."""
        return box.routes or not box.interfaces

    def _all(self) -> Iterator[End]:
        for box in self._graph.boxes:
            yield from ((box.host, one.name) for one in self.drawn(box))
            if self.has_middle(box):
                yield box.host, ""

    def links(self) -> Iterator[tuple[End, End]]:
        """The lines: cables, from the wire's bridge where one end is its port; then those inside hosts."""
        ports = {(switch.host, one.name): (switch.host, one.bridge) for switch in self._graph.of_role(Role.SWITCH)
                 for one in switch.interfaces if one.bridge}  # fmt: skip
        for near, far in self._graph.cables:
            ends = ports.get(near, near), ports.get(far, far)
            if all(end in self._ends for end in ends):
                yield ends
        for box in self._graph.boxes:
            if box.role is not Role.SWITCH:
                yield from (((box.host, one), (box.host, other)) for one, other in box.inside())
