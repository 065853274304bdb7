"""For plugins with a bridge on every node: the bridge and its pods, and what follows for addresses and pictures."""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, bridge_address, host_local, pod_mac, pod_netns
from nslab.compiler.underlay import DEFAULT
from nslab.objects import names
from nslab.objects.inet import Address
from nslab.objects.links import Bridge, Veth
from nslab.objects.namespaces import Netns
from nslab.objects.ports import BridgePort, LinkUp
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv4Network

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures


def forwarding(ns: str, host: HostFeatures, by: str) -> Iterator[KernelObject]:
    """A node forwards, and bridged packets traverse iptables (kubeadm's preflight checks require both)."""
    yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by="kubelet")
    if host.bridge_netfilter:
        # Without it, a reply between two pods of one bridge bypasses iptables, and the kernel does not undo its NAT.
        yield Sysctl(ns, "net/bridge/bridge-nf-call-iptables", "1", "1", by=by)


def bridge(lab: Lab, node: Node, name: str, mtu: int, by: str) -> Iterator[KernelObject]:
    """The bridge with the pods' gateway address."""
    ns = names.netns(lab.name, node.name)
    yield Bridge(ns, name, names.mac(lab.name, node.name, name), mtu, by=by)
    yield Address(ns, name, IPv4Interface((bridge_address(node), node.pod_cidr.prefixlen)), broadcast=True, by=by)
    yield LinkUp(ns, name, by=by)


def plugged(lab: Lab, node: Node, pod: Pod, name: str, mtu: int, by: str, *to: IPv4Network) -> Iterator[KernelObject]:
    """A pod's veth is a port of the bridge; by hairpin, a pod reaches itself through a Service (hairpin-veth mode).

    `to`: the networks, besides all, to which the pod has a route by the bridge.
    """
    ns, inside, veth = names.netns(lab.name, node.name), pod_netns(lab, pod), pod_link(pod)
    port = names.mac(lab.name, pod.namespace, pod.name, "port")
    yield Netns(inside, by="kubelet")
    yield LinkUp(inside, "lo", by=by)
    yield Veth(ns, veth, port, inside, "eth0", pod_mac(lab, pod), mtu, by=by)
    yield BridgePort(ns, veth, name, hairpin=True, by=by)
    yield LinkUp(ns, veth, by=by)
    # Duplicate address detection would keep the pod's IPv6 address unusable for a second.
    yield Sysctl(inside, "net/ipv6/conf/default/dad_transmits", "0", "1", by=by)
    yield LinkUp(inside, "eth0", by=by)
    yield Address(inside, "eth0", IPv4Interface((address_of(pod), node.pod_cidr.prefixlen)), broadcast=True, by=by)
    for network in (*to, DEFAULT):
        yield Route(inside, network, "eth0", via=bridge_address(node), by=by)


def allocation(node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order."""
    return host_local(node.pod_cidr, last)


def speaks_from(_lab: Lab, _host: HostFeatures, node: Node, *, same_node: bool) -> IPv4Address:
    """The bridge's address for the node's own pods, else the node's."""
    return bridge_address(node) if same_node else node.address


def userspace_bind(_node: Node) -> str:
    """Empty (all addresses): the bridge has an address, and REDIRECT goes there."""
    return ""


def bridge_line(node: Node, name: str) -> str:
    """The bridge with its address."""
    return f"{name} {bridge_address(node)}/{node.pod_cidr.prefixlen}"


def pod_link(pod: Pod) -> str:
    """The prefix veth and a hash."""
    return names.kubenet_veth(pod.namespace, pod.name)


def pod_line(pod: Pod) -> str:
    """A veth pair."""
    return f"{pod_link(pod)} ── eth0 {address_of(pod)}"
