"""kubenet: a bridge on every node, and on each node one route to the pods of every other node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import bridge_address, networked
from nslab.compiler.networks import bridged, whole
from nslab.compiler.underlay import ETHERNET_MTU, UPLINK
from nslab.objects import names
from nslab.objects.iptables import Jump
from nslab.objects.routes import Route

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

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
        yield from bridged.forwarding(names.netns(lab.name, node.name), host, _BY)
        yield from bridged.bridge(lab, node, BRIDGE, ETHERNET_MTU, _BY)
        for pod in networked(lab, node):
            yield from bridged.plugged(lab, node, pod, BRIDGE, ETHERNET_MTU, _BY)
        yield from node_routes(lab, node)
        yield from masquerade(lab, node, "kubenet: SNAT for outbound traffic from cluster", _BY)


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


def node_addresses(_lab: Lab, node: Node) -> Iterator[IPv4Address]:
    """The bridge's address."""
    yield bridge_address(node)


def mtu(_lab: Lab) -> int:
    """Ethernet's MTU: kubenet does not encapsulate."""
    return ETHERNET_MTU


def masquerades(_role: str) -> bool:
    """Every pod's packets, by kubenet's masquerade rule."""
    return True


def title(lab: Lab) -> str:
    """The plugin's name."""
    return lab.plugin.value


def node_line(_lab: Lab, node: Node) -> str:
    """The bridge with its address."""
    return bridged.bridge_line(node, BRIDGE)


allocation, speaks_from, userspace_bind = bridged.allocation, bridged.speaks_from, bridged.userspace_bind
pod_link, pod_line = bridged.pod_link, bridged.pod_line
AGENT, agent_rules, agent, snapshot = whole.AGENT, whole.agent_rules, whole.agent, whole.snapshot
sort_out, is_its_own = whole.sort_out, whole.is_its_own
