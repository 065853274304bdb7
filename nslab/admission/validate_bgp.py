"""Checks of who speaks BGP with whom, and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.words import did_you_mean, shown
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.bgp import Bgp, BgpPeer
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents


def bgp(found: Documents) -> Iterator[FieldError]:
    """BIRD is Calico's; reflectors are nodes; and nodes learn each other's blocks."""
    lab, speaks = found.lab, found.lab.bgp
    if speaks is None:
        yield from _without(lab)
    elif not lab.rules.bgp:
        yield FieldError(lab.place("cni", "bgp"), f"{lab.rules.label} no BGP; remove it, or use plugin: calico")
    else:
        yield from _reflectors(lab, speaks)
        yield from _peers(lab, speaks)
        yield from _services(lab, speaks)
        if not (speaks.mesh or speaks.reflectors or _reflected(lab, speaks)):
            text = "without a mesh no node learns another's blocks; name routeReflectors, or peer with a router of"
            yield FieldError(lab.place("cni", "bgp"), f"{text} the nodes' own autonomous system, {speaks.as_number}")


def odd_peers(found: Documents) -> Iterator[FieldError]:
    """Warnings for peers with whom no session comes up, and for one to whom nodes announce detours."""
    lab, speaks = found.lab, found.lab.bgp
    if speaks is None or not lab.rules.bgp:
        return
    speaking = [router for router in lab.routers if router.bgp]
    systems = {leg: router.as_number or speaks.as_number for router in speaking for leg in router.legs.values()}
    for index, peer in enumerate(speaks.peers):
        if text := _oddity(peer, systems.get(peer.address, 0), speaks.as_number):
            yield FieldError(lab.place("cni", "bgp", "peers", index), text)
    named = {peer.address for peer in speaks.peers}
    for index, router in enumerate(lab.routers):
        if router.bgp and not named & {*router.legs.values()}:
            text = f"no node speaks with {shown(router.name)}; name one of its addresses in cni.bgp.peers"
            yield FieldError(lab.place("routers", index, "bgp"), text)


def _oddity(peer: BgpPeer, system: int, nodes: int) -> str:
    """What is odd about a peer in an autonomous system (0: there is no such machine); "" if nothing is."""
    if not system:
        return f"no router with bgp has the address {peer.address}, so its session stays down"
    if peer.as_number != system:
        return f"{peer.address} is in autonomous system {system}, and not in {peer.as_number}: both refuse the session"
    if system == nodes or peer.keep_next_hop:
        return ""
    text = f"every node announces all blocks to {peer.address} with itself as the next hop"
    return f"{text}; keepOriginalNextHop: true keeps each block's own node"


def _without(lab: LabDocument) -> Iterator[FieldError]:
    for index, router in enumerate(lab.routers):
        if router.as_number:
            text = "an autonomous system needs a BGP daemon; write spec.cni.bgp: bird, or bgp: true here"
            yield FieldError(lab.place("routers", index, "bgp"), text)


def _reflectors(lab: LabDocument, speaks: Bgp) -> Iterator[FieldError]:
    nodes = [node.name for node in lab.nodes]
    for index, name in enumerate(speaks.reflectors):
        if name not in nodes:
            path = lab.place("cni", "bgp", "routeReflectors", index)
            yield FieldError(path, f"there is no node {shown(name)}{did_you_mean(name, nodes)}")
    if speaks.reflectors and speaks.mesh:
        path = lab.place("cni", "bgp", "nodeToNodeMeshEnabled")
        yield FieldError(path, "route reflectors take the mesh's place; remove one of the two")


def _peers(lab: LabDocument, speaks: Bgp) -> Iterator[FieldError]:
    """Each once, for a session is named after it; and none is a node."""
    nodes, addresses = {node.address: node.name for node in lab.nodes}, [peer.address for peer in speaks.peers]
    for index, peer in enumerate(speaks.peers):
        path = lab.place("cni", "bgp", "peers", index, "peerIP")
        if peer.address in nodes:
            text = f"{peer.address} is {shown(nodes[peer.address])}; nodes speak by the mesh, or with routeReflectors"
            yield FieldError(path, text)
        elif peer.address in addresses[:index]:
            yield FieldError(path, f"{peer.address} is a peer already")


def _services(lab: LabDocument, speaks: Bgp) -> Iterator[FieldError]:
    """Nodes take no route to what they announce as Services', so it contains no pods."""
    for index, cidr in enumerate(speaks.services):
        if cidr.overlaps(lab.pod_network):
            path = lab.place("cni", "bgp", "serviceClusterIPs", index, "cidr")
            yield FieldError(path, f"{cidr} and the pod network {lab.pod_network} overlap; name ranges of Services")


def _reflected(lab: LabDocument, speaks: Bgp) -> bool:
    """Whether a router of the nodes' own autonomous system is a peer."""
    own = {
        leg
        for router in lab.routers
        for leg in router.legs.values()
        if router.bgp and router.as_number in (0, speaks.as_number)
    }
    return any(peer.address in own and peer.as_number == speaks.as_number for peer in speaks.peers)
