"""Who speaks BGP in a lab: a BIRD on each node, and on each router that learns where pods are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.bgp.config import config
from nslab.bgp.speaker import GLOBAL, MESH, NODE, BgpSession, Pool, Speaker
from nslab.compiler.addresses import blocks
from nslab.compiler.subnets import egress, subnet_of
from nslab.lab.types import Encapsulation
from nslab.objects import names
from nslab.objects.process import Bird

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.lab.bgp import Bgp
    from nslab.lab.types import Lab, Node, Router
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures

CLUSTER_ID = "244.0.0.1"
"""Of the nodes that are route reflectors, as in Calico's documents."""


def birds(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """The BIRD of each machine that speaks BGP."""
    for machine, speaker in speakers(lab).items():
        ns = names.netns(lab.name, machine)
        writes = not (speaker.pool and speaker.pool.by_felix)
        yield Bird(ns, ns, config(speaker), host.bird, writes, by="calico-node")


def speakers(lab: Lab) -> dict[str, Speaker]:
    """The machines of a lab that speak BGP, by name; none without BIRD."""
    bgp = lab.bgp
    if not bgp:
        return {}
    found = {node.name: of_node(lab, bgp, node) for node in lab.nodes}
    return found | {router.name: of_router(lab, bgp, router) for router in lab.routers if router.bgp}


def of_node(lab: Lab, bgp: Bgp, node: Node) -> Speaker:
    """A node: its blocks, and its sessions with other nodes and with the lab's BGPPeers."""
    felix = lab.encapsulation in (Encapsulation.VXLAN, Encapsulation.VXLAN_CROSS_SUBNET)
    tunnel = "" if felix or lab.encapsulation is Encapsulation.NONE else "tunl0"
    crosses = lab.encapsulation is Encapsulation.IPIP_CROSS_SUBNET
    direct = subnet_of(lab, node.address) if crosses else None
    return Speaker(
        node.address,
        bgp.as_number,
        (*_among_nodes(lab, bgp, node), *_with_peers(bgp, node)),
        bgp.restart_time,
        Pool(lab.networks.pods, tunnel, direct, by_felix=felix),
        tuple(blocks(lab, node)),
        bgp.services,
    )


def _among_nodes(lab: Lab, bgp: Bgp, node: Node) -> Iterator[BgpSession]:
    """With each other node in a mesh; or with each route reflector, and a reflector with all."""
    for other in lab.nodes:
        if other == node:
            continue
        if bgp.mesh:
            # The one with the greater address, as a text, connects.
            waits = str(other.address) > str(node.address)
            yield BgpSession(MESH, other.address, node.address, bgp.as_number, passive=waits)
        elif other.name in bgp.reflectors:
            yield BgpSession(GLOBAL, other.address, node.address, bgp.as_number)
        elif node.name in bgp.reflectors:
            yield BgpSession(NODE, other.address, node.address, bgp.as_number, cluster_id=CLUSTER_ID)


def _with_peers(bgp: Bgp, node: Node) -> Iterator[BgpSession]:
    for peer in bgp.peers:
        yield BgpSession(GLOBAL, peer.address, node.address, peer.as_number, keep_next_hop=peer.keep_next_hop)


def of_router(lab: Lab, bgp: Bgp, router: Router) -> Speaker:
    """A router: a session with each node. To those of its own autonomous system it reflects what others announce."""
    own = router.as_number or bgp.as_number
    cluster_id = str(router.addresses[0]) if own == bgp.as_number else ""
    sessions = (
        BgpSession(NODE, node.address, _towards(lab, router, node.address), bgp.as_number, cluster_id=cluster_id)
        for node in lab.nodes
    )
    return Speaker(router.addresses[0], own, tuple(sessions), bgp.restart_time)


def _towards(lab: Lab, router: Router, address: IPv4Address) -> IPv4Address:
    number, _ = egress(lab, router, address)
    return router.addresses[number]


def one_way(lab: Lab, router: Router) -> bool:
    """Whether a router learns each block from its own node alone, or with that node as its next hop.

    If not, each node that speaks with it announces all blocks, with itself as the next hop.
    """
    bgp = lab.bgp
    if not bgp:
        return True
    peers = [peer for peer in bgp.peers if peer.address in router.addresses]
    own = router.as_number or bgp.as_number
    if any(peer.as_number != own for peer in peers) or not peers:
        return False  # no session, or none that comes up
    return own == bgp.as_number or all(peer.keep_next_hop for peer in peers)
