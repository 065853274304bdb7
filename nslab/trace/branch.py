"""A packet on its way through a prediction (values only)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass, field, replace
from nslab.trace.observed import Header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.trace.hops import End, Hop
    from nslab.trace.rules.packet import Flow4, HookPacket

LO = "lo"


class Nat(NamedTuple):
    """What conntrack of a host keeps of the connection: its flow as it came, and as it went on.

    `masqueraded`: its source is another, be it for the port alone.
    """

    came: Flow4
    went: Flow4
    masqueraded: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """A packet on its way. `came`: its flow as it came to this host; `nat`: of the hosts that translated it."""

    packet: HookPacket
    ns: str
    came: Flow4
    hops: tuple[Hop, ...] = ()
    chance: Fraction | None = field(default_factory=lambda: Fraction(1))
    doubts: tuple[str, ...] = ()
    nat: Mapping[str, Nat] = field(default_factory=dict)
    end: End | None = None
    why: str = ""
    inner: HookPacket | None = None
    """The packet in the tunnel, if this is the tunnel's."""
    masqueraded: bool = False
    handed: str = ""
    """Of one that left the hosts that are known: the interface by which its own target gets it."""

    @property
    def over(self) -> bool:
        """Whether it goes no further."""
        return self.end is not None


def ended(branch: Branch, end: End, why: str = "") -> Branch:
    """The branch, at its end."""
    return replace(branch, end=end, why=why)


def header_of(packet: HookPacket) -> Header:
    """The packet's header, as a hop shows it."""
    ports = (packet.source_port, packet.destination_port)
    return Header(packet.source, packet.destination, packet.protocol, ports, packet.ttl, packet.length)


def times(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    """The chance of both; None if one of them is not known."""
    return one * other if one is not None and other is not None else None
