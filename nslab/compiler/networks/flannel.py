"""flannel: a bridge on every node, and between nodes VXLAN, or routes alone (host-gw).

flanneld gives each node one route, one neighbour and one forwarding entry for every other node; all of them outlive it.
The CNI plugins flannel and bridge wire the pods. (flannel-io/flannel: pkg/backend/vxlan, pkg/trafficmngr/iptables)
"""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from nslab.compiler.addresses import bridge_address, networked, tunnel_address
from nslab.compiler.networks import bridged, whole
from nslab.compiler.overlay import TUNNEL_MTU
from nslab.compiler.portmap import PORTMAP, host_ports
from nslab.compiler.subnets import encapsulated
from nslab.compiler.underlay import UPLINK
from nslab.lab.network_rules import fields
from nslab.lab.types import Encapsulation
from nslab.objects import names
from nslab.objects.inet import Address
from nslab.objects.iptables import Chain, Jump
from nslab.objects.neighbours import Fdb, Neighbour
from nslab.objects.ports import LinkUp
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.objects.tunnels import Vxlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures

BRIDGE, DEVICE = "cni0", "flannel.1"
CNI_NETWORK = "cbr0"
VNI, PORT = 1, 8472
"""flannel's VXLAN network, and Linux' own UDP port for VXLAN, older than IANA's 4789."""
_FLANNELD, _CNI = "flanneld", "flannel CNI plugin"
_MASQUERADE = "MASQUERADE --random-fully"
REMEMBERS, KEEPS, BY_HAND = True, False, False
WIRED_BY = ""


def objects(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """The pod network as flanneld and its CNI plugin make it, node by node."""
    for node in lab.nodes:
        ns = names.netns(lab.name, node.name)
        yield from bridged.forwarding(ns, host, "kubelet")
        if lab.encapsulation is not Encapsulation.NONE:
            yield from tunnel(lab, node)
        for other in lab.nodes:
            if other != node:
                yield from way_to(lab, node, other)
        yield from rules(lab, node)
        pods = networked(lab, node)
        if pods:  # the CNI plugin makes the bridge for a node's first pod
            yield from bridged.bridge(lab, node, BRIDGE, mtu(lab), _CNI)
        for pod in pods:
            yield from bridged.plugged(lab, node, pod, BRIDGE, mtu(lab), _CNI, lab.networks.pods)
        if mapped := [*host_ports(lab, node, CNI_NETWORK, node.pod_cidr.prefixlen)]:
            # Packets from 127.0.0.1 may leave by the bridge: portmap masquerades them.
            yield Sysctl(ns, f"net/ipv4/conf/{BRIDGE}/route_localnet", "1", "0", by=PORTMAP)
            yield from mapped


def tunnel(lab: Lab, node: Node) -> Iterator[KernelObject]:
    """flannel.1, whose address is the source of the node's own packets to remote pods."""
    ns, mtu, address = names.netns(lab.name, node.name), TUNNEL_MTU[lab.encapsulation], tunnel_address(lab, node)
    assert address is not None, "a lab with a tunnel gives each node an address for it"
    yield Vxlan(ns, DEVICE, vtep_mac(lab, node), VNI, PORT, node.address, UPLINK, mtu, by=_FLANNELD)
    yield Sysctl(ns, f"net/ipv6/conf/{DEVICE}/accept_ra", "0", "1", by=_FLANNELD)
    yield LinkUp(ns, DEVICE, by=_FLANNELD)
    yield Address(ns, DEVICE, IPv4Interface((address, 32)), by=_FLANNELD)


def vtep_mac(lab: Lab, node: Node) -> str:
    """The link-layer address of a node's flannel.1, random in flannel, which tells it in the node's annotations."""
    return names.mac(lab.name, node.name, DEVICE)


def way_to(lab: Lab, node: Node, other: Node) -> Iterator[KernelObject]:
    """One route to another node's pods; through the tunnel also the neighbour and the forwarding entry behind it."""
    ns = names.netns(lab.name, node.name)
    if not encapsulated(lab, node, other):
        yield Route(ns, other.pod_cidr, UPLINK, via=other.address, by=_FLANNELD)
        return
    vtep, mac = tunnel_address(lab, other), vtep_mac(lab, other)
    assert vtep is not None, "a lab with a tunnel gives each node an address for it"
    yield Neighbour(ns, DEVICE, vtep, mac, by=_FLANNELD)
    yield Fdb(ns, DEVICE, mac, other.address, by=_FLANNELD)
    yield Route(ns, other.pod_cidr, DEVICE, vtep, onlink=True, by=_FLANNELD)


def rules(lab: Lab, node: Node) -> Iterator[KernelObject]:
    """flanneld accepts what it forwards, and masquerades what enters or leaves the pod network (--ip-masq)."""
    ns, pods, own = names.netns(lab.name, node.name), lab.networks.pods, node.pod_cidr
    forward, masq = (f'-m comment --comment "flanneld {word}"' for word in ("forward", "masq"))
    accepted = (f"-s {pods} {forward} -j ACCEPT", f"-d {pods} {forward} -j ACCEPT")
    yield Chain(ns, "filter", "FLANNEL-FWD", accepted, by=_FLANNELD)
    yield Jump(ns, "filter", "FORWARD", f"{forward} -j FLANNEL-FWD", "last", by=_FLANNELD)
    masqueraded = (
        f"-m mark --mark 0x4000/0x4000 {masq} -j RETURN",  # kube-proxy's KUBE-POSTROUTING does it
        f"-s {own} -d {pods} {masq} -j RETURN",
        f"-s {pods} -d {own} {masq} -j RETURN",
        f"! -s {pods} -d {own} {masq} -j RETURN",
        f"-s {pods} ! -d 224.0.0.0/4 {masq} -j {_MASQUERADE}",
        f"! -s {pods} -d {pods} {masq} -j {_MASQUERADE}",
    )
    yield Chain(ns, "nat", "FLANNEL-POSTRTG", masqueraded, by=_FLANNELD)
    yield Jump(ns, "nat", "POSTROUTING", f"{masq} -j FLANNEL-POSTRTG", "last", by=_FLANNELD)


def node_addresses(lab: Lab, node: Node) -> Iterator[IPv4Address]:
    """The bridge's address, and the tunnel's."""
    yield bridge_address(node)
    if address := tunnel_address(lab, node):
        yield address


def mtu(lab: Lab) -> int:
    """A pod's link has the MTU of flannel's subnet.env: the tunnel's."""
    return TUNNEL_MTU[lab.encapsulation]


def masquerades(_role: str) -> bool:
    """Every pod's packets that leave the pod network, by flanneld's rules."""
    return True


def title(lab: Lab) -> str:
    """flannel and its backend."""
    asked = fields(lab.plugin, lab.encapsulation)
    direct = " with directRouting" if asked.get("directRouting") else ""
    return f"{lab.plugin.value}, {asked['backend']}{direct}"


def node_line(lab: Lab, node: Node) -> str:
    """The bridge with its address, and the tunnel device."""
    line = bridged.bridge_line(node, BRIDGE)
    address = tunnel_address(lab, node)
    return f"{line}, {DEVICE} {address} mtu {TUNNEL_MTU[lab.encapsulation]}" if address else line


allocation, speaks_from, userspace_bind = bridged.allocation, bridged.speaks_from, bridged.userspace_bind
pod_link, pod_line = bridged.pod_link, bridged.pod_line
AGENT, agent_rules, agent, snapshot = whole.AGENT, whole.agent_rules, whole.agent, whole.snapshot
sort_out, is_its_own = whole.sort_out, whole.is_its_own
