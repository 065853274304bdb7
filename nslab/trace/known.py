"""What explains a journey beside what was seen of it (values only)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from ipaddress import IPv4Address

    from nslab.trace.authors import Authors
    from nslab.trace.observed import Header, RouteQuestion, RouteTaken


@dataclass(frozen=True, slots=True)
class Known:
    """What explains a journey: routes by question, MTUs by host and interface, who wrote what.

    `sent`: the packet as its sender made it, whose reply the sender gets. `filtering`: the hosts whose rp_filter
    counted packets meanwhile. `answered`: who answered a host's ARP request for an address, if it had to ask;
    `silent`: of the addresses for which nobody answered one, that in words.
    """

    lab: str
    routes: Mapping[RouteQuestion, RouteTaken]
    mtus: Mapping[tuple[str, str], int]
    authors: Authors
    sent: Header | None = None
    filtering: Collection[str] = ()
    answered: Mapping[tuple[str, IPv4Address], str] = field(default_factory=dict)
    silent: Mapping[tuple[str, IPv4Address], str] = field(default_factory=dict)
