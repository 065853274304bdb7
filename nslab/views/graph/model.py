"""What a picture of a lab contains: its hosts with their interfaces, and the cables between them (values only)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.wiring import End, NetworkInterface

BRIDGE = "bridge"
TUNNELS = ("ipip", "tun", "vxlan")
"""Kinds of interfaces (IFLA_INFO_KIND)."""


class Role(StrEnum):
    """What a host is in the cluster."""

    SWITCH = "switch"
    ROUTER = "router"
    NODE = "node"
    CLIENT = "client"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class Box:
    """One host. `name`: as people write it (a pod's is NAMESPACE/POD); `node`: a pod's, else ""."""

    host: str
    name: str
    role: Role
    interfaces: tuple[NetworkInterface, ...] = ()
    node: str = ""

    @property
    def routes(self) -> bool:
        """Whether packets of others pass through its routing."""
        return self.role in (Role.NODE, Role.ROUTER)

    def of_kind(self, *kinds: str) -> tuple[NetworkInterface, ...]:
        """Its interfaces of these kinds."""
        return tuple(one for one in self.interfaces if one.kind in kinds)

    def inside(self) -> Iterator[tuple[str, str]]:
        """The pairs of interfaces between which a packet passes inside; "" for its routing."""
        for one in self.interfaces:
            if one.bridge:
                yield one.name, one.bridge
            elif self.routes:
                yield one.name, ""


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """One port of a Service: its addresses, and what is behind it."""

    name: str
    reached: str
    behind: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference from the desired state, in one sentence. `dev`: the interface it concerns, or ""."""

    host: str
    dev: str
    text: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The picture. `cables`: veth pairs, the switch's or the node's end first.

    `findings`: None if the picture shows the desired state; () if the running lab does not differ from it.
    """

    lab: str
    title: str
    proxy: str
    boxes: tuple[Box, ...]
    cables: tuple[tuple[End, End], ...]
    services: tuple[ServiceLine, ...] = ()
    findings: tuple[Difference, ...] | None = None

    def of_role(self, *roles: Role) -> tuple[Box, ...]:
        """The hosts of these roles."""
        return tuple(box for box in self.boxes if box.role in roles)

    def pods(self, node: str) -> tuple[Box, ...]:
        """The pods of a node."""
        return tuple(box for box in self.boxes if box.role is Role.POD and box.node == node)

    def far(self) -> dict[End, End]:
        """The other end of each cable's end."""
        return {one: other for near, far in self.cables for one, other in ((near, far), (far, near))}

    def wires(self) -> Iterator[tuple[Box, NetworkInterface, list[End]]]:
        """The bridges of the switch, with what is plugged into each."""
        far = self.far()
        for switch in self.of_role(Role.SWITCH):
            for bridge in switch.of_kind(BRIDGE):
                ports = [one for one in switch.interfaces if one.bridge == bridge.name]
                yield switch, bridge, [far[end] for one in ports if (end := (switch.host, one.name)) in far]

    def marks(self, host: str, dev: str | None = None) -> list[str]:
        """What differs at an interface, or with None anywhere on the host."""
        return [one.text for one in self.findings or () if one.host == host and dev in (None, one.dev)]
