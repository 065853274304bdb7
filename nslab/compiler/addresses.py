"""Which addresses there are: of pods that have been placed, of bridges and tunnels; and the blocks of a node."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.lab.types import Encapsulation
from nslab.objects import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Lab, Node, Pod

CALICO_BLOCK = 26
"""Prefix length of an address block (Calico's IPPool.blockSize)."""


def address_of(pod: Pod) -> IPv4Address:
    """The address of a pod that has been placed."""
    if pod.assigned is None:
        raise ValueError(f"pod {pod.name} has not been placed")
    return pod.assigned


def pod_netns(lab: Lab, pod: Pod) -> str:
    """The namespace of a pod."""
    return names.netns(lab.name, names.pod_host(pod.namespace, pod.name))


def pod_mac(lab: Lab, pod: Pod) -> str:
    """The link-layer address of a pod's eth0."""
    return names.mac(lab.name, pod.namespace, pod.name)


def bridge_address(node: Node) -> IPv4Address:
    """The pods' gateway with kubenet, and by custom: the first address of the node's pod network."""
    return node.pod_cidr.network_address + 1


def tunnel_address(lab: Lab, node: Node) -> IPv4Address | None:
    """The address of the node's tunnel device: its block's first, since calico-node asks before any pod does."""
    return None if lab.encapsulation is Encapsulation.NONE else node.pod_cidr.network_address


def blocks(lab: Lab, node: Node) -> list[IPv4Network]:
    """The blocks that a node has claimed: those in which it uses an address, and its first."""
    size = max(CALICO_BLOCK, node.pod_cidr.prefixlen)
    used = [address_of(pod) for pod in lab.pods if pod.node == node.name]
    claimed = {IPv4Network((address, size), strict=False) for address in (node.pod_cidr.network_address, *used)}
    return sorted(claimed)


def host_local(network: IPv4Network, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order: on from the last one given, once around; never the network, gateway or broadcast address."""
    usable = range(int(network.network_address) + 2, int(network.broadcast_address))
    start = usable.index(int(last)) + 1 if last is not None and int(last) in usable else 0
    return (IPv4Address(usable[(start + step) % len(usable)]) for step in range(len(usable)))
