"""Calico: no bridge. Each pod's cable goes straight to the node's router; blocks of addresses are routed to nodes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, blocks, pod_mac, pod_netns, tunnel_address
from nslab.compiler.masquerade import nat_outgoing
from nslab.compiler.networks import whole
from nslab.compiler.overlay import IPIP_DEVICE, TUNNEL_MTU, VXLAN_DEVICE, VXLAN_MODES, overlay
from nslab.compiler.underlay import DEFAULT
from nslab.lab.types import Encapsulation
from nslab.objects import names
from nslab.objects.inet import Address, Blackhole, Route
from nslab.objects.links import Veth
from nslab.objects.namespaces import Netns
from nslab.objects.neighbours import Neighbour
from nslab.objects.ports import LinkUp
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.types import Lab, Node, Pod
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import Host

GATEWAY = IPv4Address("169.254.1.1")
"""Every pod's next hop. Nobody has this address: the node answers for it by proxy ARP."""
NODE_END_MAC = "ee:ee:ee:ee:ee:ee"
_CNI, _FELIX = "Calico CNI plugin", "Felix"
REMEMBERS = KEEPS = BY_HAND = False


def objects(lab: Lab, host: Host) -> Iterator[KernelObject]:
    """The pod network as Calico makes it, node by node."""
    claims = {node.name: blocks(lab, node) for node in lab.nodes}
    for node in lab.nodes:
        yield from router(lab, node, host)
        for pod in lab.pods:
            if pod.node == node.name:
                yield from wired(lab, node, pod)
                yield from routed(lab, node, pod)
        yield from overlay(lab, node, host, claims)
        yield from own_blocks(lab, node, claims[node.name])
        yield from nat_outgoing(lab, node)


def router(lab: Lab, node: Node, host: Host) -> Iterator[KernelObject]:
    """A node forwards packets that are not its own."""
    ns = names.netns(lab.name, node.name)
    yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by=_FELIX)
    if host.conntrack:
        yield Sysctl(ns, "net/netfilter/nf_conntrack_acct", "1", "0", by=_FELIX)


def wired(lab: Lab, node: Node, pod: Pod) -> Iterator[KernelObject]:
    """A pod has one cable, one address of its own alone (/32), and one next hop for everything."""
    ns, inside = names.netns(lab.name, node.name), pod_netns(lab, pod)
    veth = names.cali(pod.namespace, pod.name)
    yield Netns(inside, by="kubelet")
    yield LinkUp(inside, "lo", by=_CNI)
    mtu = TUNNEL_MTU[lab.encapsulation]
    yield Veth(ns, veth, NODE_END_MAC, inside, "eth0", pod_mac(lab, pod), mtu, by=_CNI)
    yield LinkUp(ns, veth, by=_CNI)
    yield LinkUp(inside, "eth0", by=_CNI)
    yield Address(inside, "eth0", IPv4Interface((address_of(pod), 32)), by=_CNI)
    yield Route(inside, IPv4Network(GATEWAY), "eth0", by=_CNI)
    yield Route(inside, DEFAULT, "eth0", via=GATEWAY, by=_CNI)
    settings = f"net/ipv4/conf/{veth}"
    yield Sysctl(ns, f"{settings}/route_localnet", "1", "0", by=_CNI)
    # The kernel would wait up to 0.8 s before it answers on another's behalf.
    yield Sysctl(ns, f"net/ipv4/neigh/{veth}/proxy_delay", "0", "80", by=_CNI)
    yield Sysctl(ns, f"{settings}/proxy_arp", "1", "0", by=_CNI)
    yield Sysctl(ns, f"{settings}/forwarding", "1", "1", by=_CNI)
    yield Sysctl(ns, f"net/ipv6/conf/{veth}/accept_ra", "0", "1", by=_CNI)


def routed(lab: Lab, node: Node, pod: Pod) -> Iterator[KernelObject]:
    """The node knows the way to each of its pods, and each pod's link-layer address."""
    ns, veth = names.netns(lab.name, node.name), names.cali(pod.namespace, pod.name)
    yield Route(ns, IPv4Network(address_of(pod)), veth, by=_FELIX)
    yield Neighbour(ns, veth, address_of(pod), pod_mac(lab, pod), by=_FELIX)


def own_blocks(lab: Lab, node: Node, claimed: Sequence[IPv4Network]) -> Iterator[KernelObject]:
    """Packets for an address of this node's blocks that no pod has end here, and do not leave by the default route."""
    by, protocol = (_FELIX, "80") if lab.encapsulation in VXLAN_MODES else ("BIRD", "bird")
    for block in claimed:
        yield Blackhole(names.netns(lab.name, node.name), block, protocol, by=by)


def allocation(node: Node, _last: IPv4Address | None) -> Iterator[IPv4Address]:
    """The first that is free, from the beginning of the block."""
    return iter(node.pod_cidr)


def node_addresses(lab: Lab, node: Node) -> Iterator[IPv4Address]:
    """The tunnel's."""
    if tunnel := tunnel_address(lab, node):
        yield tunnel


def mtu(lab: Lab) -> int:
    """A pod's link is as narrow as the tunnel between nodes."""
    return TUNNEL_MTU[lab.encapsulation]


def speaks_from(lab: Lab, host: Host, node: Node, *, same_node: bool) -> IPv4Address:
    """cali… has no address, so the kernel takes that of the namespace's oldest interface that has one."""
    tunnel = tunnel_address(lab, node)
    ipip = lab.encapsulation in (Encapsulation.IPIP, Encapsulation.IPIP_CROSS_SUBNET)
    # A tunl0 that was born with the namespace is older than eth0.
    return tunnel if ipip and same_node and tunnel and host.ipip and host.ipip_born else node.address


def masquerades(_role: str) -> bool:
    """By natOutgoing."""
    return True


def userspace_bind(node: Node) -> str:
    """Pods' links have no address, and to REDIRECT means to the address of the link."""
    return str(node.address)


def title(lab: Lab) -> str:
    """Calico and its encapsulation."""
    kind = "no encapsulation" if lab.encapsulation is Encapsulation.NONE else lab.encapsulation.value
    return f"{lab.plugin.value}, {kind}"


def node_line(lab: Lab, node: Node) -> str:
    """The tunnel."""
    tunnel = tunnel_address(lab, node)
    device = VXLAN_DEVICE if lab.encapsulation in VXLAN_MODES else IPIP_DEVICE
    return f"{device} {tunnel} mtu {TUNNEL_MTU[lab.encapsulation]}" if tunnel else ""


def pod_link(pod: Pod) -> str:
    """cali… and a hash."""
    return names.cali(pod.namespace, pod.name)


def pod_line(pod: Pod) -> str:
    """A veth pair."""
    return f"{pod_link(pod)} ── eth0 {address_of(pod)}"


sort_out, is_its_own = whole.sort_out, whole.is_its_own
