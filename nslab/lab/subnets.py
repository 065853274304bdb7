"""The node network as a graph: subnets, and the routers that join them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network


def find_subnet(subnets: Iterable[IPv4Network], address: IPv4Address) -> IPv4Network | None:
    """The subnet that contains an address, or None."""
    return next((subnet for subnet in subnets if address in subnet), None)


def distances(
    subnets: Sequence[IPv4Network], routers: Sequence[Collection[IPv4Address]], goal: IPv4Network
) -> dict[IPv4Network, int]:
    """The number of routers between each subnet and `goal`. Subnets without a path to it are left out.

    A router is the collection of its addresses.
    """
    joined = [{find_subnet(subnets, address) for address in addresses} for addresses in routers]
    found, frontier, hops = {goal: 0}, {goal}, 0
    while frontier:
        hops += 1
        neighbours = {subnet for group in joined if group & frontier for subnet in group if subnet}
        frontier = neighbours - found.keys()
        found |= dict.fromkeys(frontier, hops)
    return found
