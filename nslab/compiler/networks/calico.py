"""Calico: no bridge. Each pod's veth ends in the node, which routes; blocks of addresses are routed between nodes."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Any

from nslab.compiler.addresses import address_of, announced, blocks, networked, pod_mac, pod_netns, tunnel_address
from nslab.compiler.bgp import birds, speakers
from nslab.compiler.networks import whole
from nslab.compiler.overlay import IPIP_DEVICE, TUNNEL_MTU, VXLAN_DEVICE, VXLAN_MODES, overlay
from nslab.compiler.policies import cluster, felix_node
from nslab.compiler.portmap import host_ports
from nslab.compiler.underlay import DEFAULT
from nslab.dataclass import replace
from nslab.lab.types import Encapsulation
from nslab.objects import names
from nslab.objects.inet import Address
from nslab.objects.links import Veth
from nslab.objects.namespaces import Netns
from nslab.objects.neighbours import Neighbour
from nslab.objects.other_routes import OtherRoute
from nslab.objects.ports import LinkUp
from nslab.objects.process import Felix
from nslab.objects.routes import Blackhole, Route
from nslab.objects.sysctl import Sysctl
from nslab.policy import document, felix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import HostFeatures
    from nslab.ruletext.items import Items

GATEWAY = IPv4Address("169.254.1.1")
"""Every pod's next hop. No interface has this address: the node answers for it by proxy ARP."""
NODE_END_MAC = "ee:ee:ee:ee:ee:ee"
CNI_NETWORK = "k8s-pod-network"
_CNI, _FELIX = "Calico CNI plugin", "Felix"
AGENT = _FELIX
REMEMBERS = KEEPS = BY_HAND = False
WIRED_BY = ""


def objects(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """The pod network as Calico makes it, node by node."""
    ways = {node.name: announced(lab, node) for node in lab.nodes}
    for node in lab.nodes:
        yield from router(lab, node, host)
        for pod in networked(lab, node):
            yield from wired(lab, node, pod)
            yield from routed(lab, node, pod)
        yield from overlay(lab, node, host, ways)
        yield from own_blocks(lab, node, blocks(lab, node))
        yield from host_ports(lab, node, CNI_NETWORK, 32)
    yield from birds(lab, host)


def router(lab: Lab, node: Node, host: HostFeatures) -> Iterator[KernelObject]:
    """A node forwards packets."""
    ns = names.netns(lab.name, node.name)
    yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by=_FELIX)
    if host.conntrack:
        yield Sysctl(ns, "net/netfilter/nf_conntrack_acct", "1", "0", by=_FELIX)


def wired(lab: Lab, node: Node, pod: Pod) -> Iterator[KernelObject]:
    """A pod has one veth, one address (/32), and one next hop for everything."""
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
    # By default the kernel delays a proxied ARP reply by up to 0.8 s.
    yield Sysctl(ns, f"net/ipv4/neigh/{veth}/proxy_delay", "0", "80", by=_CNI)
    yield Sysctl(ns, f"{settings}/proxy_arp", "1", "0", by=_CNI)
    yield Sysctl(ns, f"{settings}/forwarding", "1", "1", by=_CNI)
    yield Sysctl(ns, f"net/ipv6/conf/{veth}/accept_ra", "0", "1", by=_CNI)


def routed(lab: Lab, node: Node, pod: Pod) -> Iterator[KernelObject]:
    """The node has a route to each of its pods, and a permanent neighbour entry with each pod's link-layer address."""
    ns, veth = names.netns(lab.name, node.name), names.cali(pod.namespace, pod.name)
    yield Route(ns, IPv4Network(address_of(pod)), veth, by=_FELIX)
    yield Neighbour(ns, veth, address_of(pod), pod_mac(lab, pod), by=_FELIX)


def own_blocks(lab: Lab, node: Node, claimed: Sequence[IPv4Network]) -> Iterator[KernelObject]:
    """Blackhole routes: packets for an unused address of this node's blocks must not leave by the default route."""
    by, protocol = (_FELIX, "80") if lab.encapsulation in VXLAN_MODES else ("BIRD", "bird")
    for block in claimed:
        learned = lab.bgp is not None and protocol == "bird"
        yield Blackhole(names.netns(lab.name, node.name), block, protocol, by=by, learned=learned)


def agent_rules(lab: Lab) -> Mapping[str, Items]:
    """Felix's chains and sets of each node."""
    known = cluster(lab)
    return {node.name: felix.items(known, felix_node(lab, node)) for node in lab.nodes}


def agent(lab: Lab, host: HostFeatures, node: Node) -> Iterator[KernelObject]:
    """Felix."""
    ns = names.netns(lab.name, node.name)
    settings = {"node": node.name, "dataplane": lab.dataplane, "iptables": host.iptables}
    yield Felix(ns, ns, json.dumps(settings), by=_FELIX)


def snapshot(lab: Lab) -> dict[str, Any] | None:
    """The policies, pods and namespaces, and what each Felix is set to. The API server knows which pods have ended."""
    return document.to_json(cluster(lab, ended=True), (felix_node(lab, node) for node in lab.nodes))


def allocation(node: Node, _last: IPv4Address | None) -> Iterator[IPv4Address]:
    """From the beginning of the block: Calico takes the first free address."""
    return iter(node.pod_cidr)


def node_addresses(lab: Lab, node: Node) -> Iterator[IPv4Address]:
    """The tunnel's address."""
    if tunnel := tunnel_address(lab, node):
        yield tunnel


def mtu(lab: Lab) -> int:
    """A pod's link has the MTU of the tunnel between nodes."""
    return TUNNEL_MTU[lab.encapsulation]


def speaks_from(lab: Lab, host: HostFeatures, node: Node, *, same_node: bool) -> IPv4Address:
    """cali… has no address, so the kernel takes one from the namespace's oldest interface that has one."""
    tunnel = tunnel_address(lab, node)
    ipip = lab.encapsulation in (Encapsulation.IPIP, Encapsulation.IPIP_CROSS_SUBNET)
    # A tunl0 that the kernel created with the namespace is older than eth0.
    return tunnel if ipip and same_node and tunnel and host.ipip and host.ipip_fallback else node.address


def masquerades(_role: str) -> bool:
    """Every pod's packets, by natOutgoing."""
    return True


def userspace_bind(node: Node) -> str:
    """The node's address: REDIRECT goes to the address of the incoming link, and the pods' links have none."""
    return str(node.address)


def title(lab: Lab) -> str:
    """Calico and its encapsulation."""
    kind = "no encapsulation" if lab.encapsulation is Encapsulation.NONE else lab.encapsulation.value
    return f"{lab.plugin.value}, {kind}"


def node_line(lab: Lab, node: Node) -> str:
    """The tunnel device with its address and MTU."""
    tunnel = tunnel_address(lab, node)
    device = VXLAN_DEVICE if lab.encapsulation in VXLAN_MODES else IPIP_DEVICE
    return f"{device} {tunnel} mtu {TUNNEL_MTU[lab.encapsulation]}" if tunnel else ""


def pod_link(pod: Pod) -> str:
    """The prefix cali and a hash."""
    return names.cali(pod.namespace, pod.name)


def pod_line(pod: Pod) -> str:
    """A veth pair."""
    return f"{pod_link(pod)} ── eth0 {address_of(pod)}"


def sort_out(lab: Lab, have: Iterable[KernelObject], known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """Where BIRD runs, its routes are its own: it adds and removes what no lab has contained."""
    speaking = {names.netns(lab.name, machine) for machine in speakers(lab)}
    known_keys = {obj.key for obj in known}
    ours: list[KernelObject] = []
    for obj in have:
        if not (isinstance(obj, Route | Blackhole | OtherRoute) and obj.protocol == "bird" and obj.ns in speaking):
            ours.append(obj)
        elif obj.key in known_keys:
            ours.append(obj if isinstance(obj, OtherRoute) else replace(obj, learned=True))
    return ours, []


is_its_own = whole.is_its_own
