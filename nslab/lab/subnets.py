"""The node network as a graph: subnets, and the routers that join them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network


def find_subnet(subnets: Iterable[IPv4Network], address: IPv4Address) -> IPv4Network | None:
    """The subnet that holds an address."""
    return next((subnet for subnet in subnets if address in subnet), None)


def distances(
    subnets: Sequence[IPv4Network], routers: Sequence[Collection[IPv4Address]], goal: IPv4Network
) -> dict[IPv4Network, int]:
    """How many routers lie between each subnet and `goal`. Those from which there is no way are left out.

    A router is the collection of its addresses.
    """
    joined = [{find_subnet(subnets, leg) for leg in legs} for legs in routers]
    found, edge, passed = {goal: 0}, {goal}, 0
    while edge:
        passed += 1
        around = {subnet for legs in joined if legs & edge for subnet in legs if subnet}
        edge = around - found.keys()
        found |= dict.fromkeys(edge, passed)
    return found
