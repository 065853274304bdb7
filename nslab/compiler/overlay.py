"""How pods reach pods of another node: Calico's tunnels over the node network, or its routes in it."""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from nslab.compiler.addresses import tunnel_address
from nslab.compiler.subnets import encapsulated, next_hop
from nslab.compiler.underlay import UPLINK
from nslab.lab.types import Encapsulation
from nslab.objects import names
from nslab.objects.inet import Address
from nslab.objects.neighbours import Fdb, Neighbour
from nslab.objects.ports import LinkUp
from nslab.objects.process import TunnelAgent
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.objects.tunnels import Ipip, Tun, Vxlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from ipaddress import IPv4Network

    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures

IPIP_DEVICE, VXLAN_DEVICE = "tunl0", "vxlan.calico"
VNI, VXLAN_PORT = 4096, 4789
VXLAN_MODES = (Encapsulation.VXLAN, Encapsulation.VXLAN_CROSS_SUBNET)
_IPIP_MTU, _VXLAN_MTU = 1500 - 20, 1500 - 50  # an outer IPv4 header; that, UDP, VXLAN and an inner Ethernet header

TUNNEL_MTU = {
    Encapsulation.IPIP: _IPIP_MTU,
    Encapsulation.IPIP_CROSS_SUBNET: _IPIP_MTU,
    Encapsulation.VXLAN: _VXLAN_MTU,
    Encapsulation.VXLAN_CROSS_SUBNET: _VXLAN_MTU,
    Encapsulation.NONE: 1500,
}
"""The MTU of pods: what fits through the narrowest enabled tunnel."""

_BIRD, _FELIX = "BIRD", "Felix"


def overlay(
    lab: Lab, node: Node, host: HostFeatures, ways: Mapping[str, Sequence[IPv4Network]]
) -> Iterator[KernelObject]:
    """The node's tunnel, if there is one, and the routes to what every other node announces (`ways`)."""
    match lab.encapsulation:
        case Encapsulation.IPIP | Encapsulation.IPIP_CROSS_SUBNET:
            yield from ipip_device(lab, node, host)
        case Encapsulation.VXLAN | Encapsulation.VXLAN_CROSS_SUBNET:
            yield from vxlan_device(lab, node)
        case Encapsulation.NONE:
            pass
    for other in lab.nodes:
        if other != node:
            yield from way_to(lab, node, other, ways[other.name])


def way_to(lab: Lab, node: Node, other: Node, announced: Sequence[IPv4Network]) -> Iterator[KernelObject]:
    """Routes to what another node announces; the device decides whether packets are encapsulated."""
    ns, vxlan, learned = names.netns(lab.name, node.name), lab.encapsulation in VXLAN_MODES, lab.bgp is not None
    for block in announced:
        if encapsulated(lab, node, other):
            if vxlan:
                yield Route(ns, block, VXLAN_DEVICE, tunnel_address(lab, other), onlink=True, by=_FELIX)
            else:
                yield Route(ns, block, IPIP_DEVICE, other.address, "bird", onlink=True, by=_BIRD, learned=learned)
        elif vxlan:
            yield Route(ns, block, UPLINK, other.address, "80", onlink=True, by=_FELIX)
        else:
            # BGP's next hop is the other node; BIRD resolves it to the router that leads there.
            hop = next_hop(lab, node.address, other.address)
            yield Route(ns, block, UPLINK, hop, "bird", by=_BIRD, learned=learned)
    if vxlan:
        # For every node, also those reached without a tunnel: Felix programs peers independently of routes.
        yield from vxlan_peer(lab, ns, other)


def ipip_device(lab: Lab, node: Node, host: HostFeatures) -> Iterator[KernelObject]:
    """tunl0: the ipip driver's device, or without that driver a TUN device of that name with a process behind it."""
    ns = names.netns(lab.name, node.name)
    if host.ipip:
        yield Ipip(ns, IPIP_DEVICE, _IPIP_MTU, fallback=host.ipip_fallback, by=_FELIX)
    else:
        yield Tun(ns, IPIP_DEVICE, _IPIP_MTU, by=_FELIX)
        # A TUN would get a random IPv6 link-local address; tunl0, which carries IPv4 alone, has none.
        yield Sysctl(ns, f"net/ipv6/conf/{IPIP_DEVICE}/disable_ipv6", "1", "0", by=_FELIX)
    yield from addressed(lab, node, IPIP_DEVICE)
    if not host.ipip:
        yield TunnelAgent(ns, ns, IPIP_DEVICE, node.address, by=_FELIX)


def vxlan_device(lab: Lab, node: Node) -> Iterator[KernelObject]:
    """vxlan.calico, with learning off."""
    ns, mac = names.netns(lab.name, node.name), names.vtep_mac(node.name)
    yield Vxlan(ns, VXLAN_DEVICE, mac, VNI, VXLAN_PORT, node.address, UPLINK, _VXLAN_MTU, by=_FELIX)
    yield from addressed(lab, node, VXLAN_DEVICE)


def addressed(lab: Lab, node: Node, device: str) -> Iterator[KernelObject]:
    """The tunnel's address is the source of the node's own packets to remote pods."""
    ns, address = names.netns(lab.name, node.name), tunnel_address(lab, node)
    assert address is not None, "a lab with a tunnel gives each node an address for it"
    yield LinkUp(ns, device, by=_FELIX)
    yield Address(ns, device, IPv4Interface((address, 32)), by=_FELIX)


def vxlan_peer(lab: Lab, ns: str, other: Node) -> Iterator[KernelObject]:
    """Static entries in place of learning: the other VTEP's link-layer address, and the node behind it."""
    mac, vtep = names.vtep_mac(other.name), tunnel_address(lab, other)
    assert vtep is not None, "a lab with a tunnel gives each node an address for it"
    yield Neighbour(ns, VXLAN_DEVICE, vtep, mac, by=_FELIX)
    yield Fdb(ns, VXLAN_DEVICE, mac, other.address, by=_FELIX)
