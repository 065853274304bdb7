"""kubenet: a bridge on every node, and on each node one route to the pods of every other node."""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, bridge_address, host_local, pod_mac, pod_netns
from nslab.compiler.networks import whole
from nslab.compiler.underlay import DEFAULT, ETHERNET_MTU, UPLINK
from nslab.objects import names
from nslab.objects.inet import Address
from nslab.objects.iptables import Jump
from nslab.objects.links import Bridge, Veth
from nslab.objects.namespaces import Netns
from nslab.objects.ports import BridgePort, LinkUp
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures

BRIDGE = "cbr0"
_BY = "kubenet"
REMEMBERS, KEEPS, BY_HAND = True, False, False
WIRED_BY = ""


def objects(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """The pod network as the kubelet's own plugin made it (until 1.23), node by node."""
    for node in lab.nodes:
        yield from bridge(lab, node, host)
        for pod in lab.pods:
            if pod.node == node.name:
                yield from bridged(lab, node, pod)
        yield from node_routes(lab, node)
        yield from masquerade(lab, node, "kubenet: SNAT for outbound traffic from cluster", _BY)


def bridge(lab: Lab, node: Node, host: HostFeatures) -> Iterator[KernelObject]:
    """cbr0 with the pods' gateway address."""
    ns = names.netns(lab.name, node.name)
    yield from forwarding(ns, host, _BY)
    yield Bridge(ns, BRIDGE, names.mac(lab.name, node.name, BRIDGE), by=_BY)
    yield Address(ns, BRIDGE, IPv4Interface((bridge_address(node), node.pod_cidr.prefixlen)), broadcast=True, by=_BY)
    yield LinkUp(ns, BRIDGE, by=_BY)


def forwarding(ns: str, host: HostFeatures, by: str) -> Iterator[KernelObject]:
    """A node forwards, and bridged packets traverse iptables (kubeadm's preflight checks require both)."""
    yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by="kubelet")
    if host.bridge_netfilter:
        # Without it, a reply between two pods of one bridge bypasses iptables, and the kernel does not undo its NAT.
        yield Sysctl(ns, "net/bridge/bridge-nf-call-iptables", "1", "1", by=by)


def bridged(lab: Lab, node: Node, pod: Pod) -> Iterator[KernelObject]:
    """A pod's veth is a port of the bridge; by hairpin, a pod reaches itself through a Service (hairpin-veth mode)."""
    ns, inside = names.netns(lab.name, node.name), pod_netns(lab, pod)
    veth = names.kubenet_veth(pod.namespace, pod.name)
    yield Netns(inside, by="kubelet")
    yield LinkUp(inside, "lo", by=_BY)
    yield Veth(
        ns, veth, names.mac(lab.name, pod.namespace, pod.name, "port"), inside, "eth0", pod_mac(lab, pod), by=_BY
    )
    yield BridgePort(ns, veth, BRIDGE, hairpin=True, by=_BY)
    yield LinkUp(ns, veth, by=_BY)
    # Duplicate address detection would keep the pod's IPv6 address unusable for a second.
    yield Sysctl(inside, "net/ipv6/conf/default/dad_transmits", "0", "1", by=_BY)
    yield LinkUp(inside, "eth0", by=_BY)
    yield Address(inside, "eth0", IPv4Interface((address_of(pod), node.pod_cidr.prefixlen)), broadcast=True, by=_BY)
    yield Route(inside, DEFAULT, "eth0", via=bridge_address(node), by=_BY)


def node_routes(lab: Lab, node: Node) -> Iterator[KernelObject]:
    """kubenet itself knows one node only; a cloud's routes (here nslab's) lead to the pods of the others."""
    for other in lab.nodes:
        if other != node:
            ns = names.netns(lab.name, node.name)
            yield Route(ns, other.pod_cidr, UPLINK, via=other.address, by="cloud routes")


def masquerade(lab: Lab, node: Node, comment: str, by: str) -> Iterator[KernelObject]:
    """Packets that leave the cluster get the node's source address (--non-masquerade-cidr is the pod network)."""
    comment = f'-m comment --comment "{comment}"'
    rule = f"! -d {lab.networks.pods} {comment} -m addrtype ! --dst-type LOCAL -j MASQUERADE"
    yield Jump(names.netns(lab.name, node.name), "nat", "POSTROUTING", rule, "last", by=by)


def allocation(node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order."""
    return host_local(node.pod_cidr, last)


def node_addresses(_lab: Lab, node: Node) -> Iterator[IPv4Address]:
    """The bridge's address."""
    yield bridge_address(node)


def mtu(_lab: Lab) -> int:
    """Ethernet's MTU: kubenet does not encapsulate."""
    return ETHERNET_MTU


def speaks_from(_lab: Lab, _host: HostFeatures, node: Node, *, same_node: bool) -> IPv4Address:
    """The bridge's address for the node's own pods, else the node's."""
    return bridge_address(node) if same_node else node.address


def masquerades(_role: str) -> bool:
    """Every pod's packets, by kubenet's masquerade rule."""
    return True


def userspace_bind(_node: Node) -> str:
    """Empty (all addresses): the bridge has an address, and REDIRECT goes there."""
    return ""


def title(lab: Lab) -> str:
    """The plugin's name."""
    return lab.plugin.value


def node_line(_lab: Lab, node: Node) -> str:
    """The bridge with its address."""
    return f"{BRIDGE} {bridge_address(node)}/{node.pod_cidr.prefixlen}"


def pod_link(pod: Pod) -> str:
    """The prefix veth and a hash."""
    return names.kubenet_veth(pod.namespace, pod.name)


def pod_line(pod: Pod) -> str:
    """A veth pair."""
    return f"{pod_link(pod)} ── eth0 {address_of(pod)}"


AGENT, agent_rules = whole.AGENT, whole.agent_rules
sort_out, is_its_own = whole.sort_out, whole.is_its_own
