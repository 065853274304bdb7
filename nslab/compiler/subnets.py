"""Subnets: who is in which, which router leads to the others, and between which nodes packets are encapsulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.lab.subnets import distances, find_subnet
from nslab.lab.types import Encapsulation

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from nslab.lab.types import Lab, Node, Router


def subnet_of(lab: Lab, address: IPv4Address) -> IPv4Network:
    """The subnet of the node network that contains a machine's address. Raises ValueError if none does."""
    found = find_subnet(lab.networks.nodes, address)
    if found is None:
        raise ValueError(f"{address} is on no subnet of lab {lab.name}")
    return found


def same_subnet(lab: Lab, one: IPv4Address, other: IPv4Address) -> bool:
    """Whether two machines are in one subnet, so that they reach each other without a router."""
    return subnet_of(lab, one) == subnet_of(lab, other)


def gateway(lab: Lab, subnet: IPv4Network | None = None) -> IPv4Address:
    """A subnet's (None: the first subnet's) default gateway: its first router, else the switch at the first address."""
    subnet = subnet or lab.networks.nodes[0]
    addresses = (address for router in lab.routers for address in router.addresses if address in subnet)
    return next(addresses, next(subnet.hosts()))


def next_router(lab: Lab, start: IPv4Network, goal: IPv4Network) -> tuple[Router, IPv4Address]:
    """The first router on a shortest path from one subnet to another, and its address in `start`."""
    away = distances(lab.networks.nodes, [router.addresses for router in lab.routers], goal)
    for router in lab.routers:
        addresses = {subnet_of(lab, address): address for address in router.addresses}
        if start in addresses and min(away[subnet] for subnet in addresses) < away[start]:
            return router, addresses[start]
    raise ValueError(f"no router of lab {lab.name} leads from {start} to {goal}")


def next_hop(lab: Lab, machine: IPv4Address, to: IPv4Address) -> IPv4Address:
    """A machine's next hop for another one: that machine itself if it is in the same subnet, else a router."""
    start, goal = subnet_of(lab, machine), subnet_of(lab, to)
    return to if start == goal else next_router(lab, start, goal)[1]


def egress(lab: Lab, router: Router, to: IPv4Address) -> tuple[int, IPv4Address]:
    """The number of the interface and the next hop by which a router sends packets for a machine."""
    goal = subnet_of(lab, to)
    away = distances(lab.networks.nodes, [other.addresses for other in lab.routers], goal)
    number, address = min(enumerate(router.addresses), key=lambda pair: away[subnet_of(lab, pair[1])])
    return number, next_hop(lab, address, to)


def knows_pods(lab: Lab, router: Router) -> bool:
    """Whether a router learns where pods are: where BIRD runs, if it is the nodes' peer in the right system."""
    if not (router.bgp and lab.bgp):
        return router.bgp
    own = router.as_number or lab.bgp.as_number
    systems = [peer.as_number for peer in lab.bgp.peers if peer.address in router.addresses]
    return bool(systems) and all(system == own for system in systems)


def encapsulated(lab: Lab, node: Node, other: Node) -> bool:
    """Whether packets between the pods of two nodes are encapsulated."""
    match lab.encapsulation:
        case Encapsulation.NONE:
            return False
        case Encapsulation.IPIP_CROSS_SUBNET | Encapsulation.VXLAN_CROSS_SUBNET:
            return not same_subnet(lab, node.address, other.address)
        case _:
            return True


def connected(lab: Lab, node: Node, other: Node) -> bool:
    """Whether packets between pods of two nodes arrive, both ways.

    A router drops packets without encapsulation unless it has routes to the pods.
    """
    if node == other or encapsulated(lab, node, other) or same_subnet(lab, node.address, other.address):
        return True
    ways = ((node.address, other.address), (other.address, node.address))
    return all(_carried(lab, subnet_of(lab, start), subnet_of(lab, goal)) for start, goal in ways)


def reachable_from(lab: Lab, machine: IPv4Address, node: Node) -> bool:
    """Whether a machine outside the cluster reaches a node's pods: its default gateway needs routes to them."""
    out = gateway(lab, subnet_of(lab, machine))
    first = next((router for router in lab.routers if out in router.addresses), None)
    if first is None or not knows_pods(lab, first):
        return False
    number, _ = egress(lab, first, node.address)
    return _carried(lab, subnet_of(lab, first.addresses[number]), subnet_of(lab, node.address))


def _carried(lab: Lab, start: IPv4Network, goal: IPv4Network) -> bool:
    """Whether every router between two subnets has routes to the pods."""
    while start != goal:
        router, _ = next_router(lab, start, goal)
        if not knows_pods(lab, router):
            return False
        number, _ = egress(lab, router, goal.network_address)
        start = subnet_of(lab, router.addresses[number])
    return True
