"""The addresses of placed pods, bridges and tunnels, and the address blocks of a node."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.lab.types import Encapsulation
from nslab.objects import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node

CALICO_BLOCK = 26
"""Prefix length of an address block (Calico's IPPool.blockSize)."""


def address_of(pod: Pod) -> IPv4Address:
    """The address of a placed pod. Raises ValueError if the pod has none yet."""
    if pod.assigned is None:
        raise ValueError(f"pod {pod.name} has not been placed")
    return pod.assigned


def pod_netns(lab: Lab, pod: Pod) -> str:
    """The namespace of a pod."""
    return names.netns(lab.name, names.pod_host(pod.namespace, pod.name))


def network_host(pod: Pod) -> str:
    """The host whose network a pod's containers use: the pod itself; with hostNetwork, its node."""
    return pod.node if pod.host_network else names.pod_host(pod.namespace, pod.name)


def host_used(lab: Lab, host: str) -> str:
    """The host whose network a host of a lab uses, as `network_host` has it."""
    pods = (pod for pod in lab.pods if pod.host_network)
    return next((pod.node for pod in pods if names.pod_host(pod.namespace, pod.name) == host), host)


def networked(lab: Lab, node: Node) -> list[Pod]:
    """A node's pods that have a network of their own: all but those with hostNetwork."""
    return [pod for pod in lab.pods if pod.node == node.name and not pod.host_network]


def pod_mac(lab: Lab, pod: Pod) -> str:
    """The link-layer address of a pod's eth0."""
    return names.mac(lab.name, pod.namespace, pod.name)


def bridge_address(node: Node) -> IPv4Address:
    """The pods' gateway, which is by convention the first address of the node's podCIDR (kubenet's bridge has it)."""
    return node.pod_cidr.network_address + 1


def tunnel_address(lab: Lab, node: Node) -> IPv4Address | None:
    """The address of the node's tunnel device: the first of its block, because calico-node allocates before any pod."""
    return None if lab.encapsulation is Encapsulation.NONE else node.pod_cidr.network_address


def blocks(lab: Lab, node: Node) -> list[IPv4Network]:
    """The blocks that a node has claimed: its first one, and each of its podCIDR in which a pod has an address."""
    size = max(CALICO_BLOCK, node.pod_cidr.prefixlen)
    used = (address for pod in networked(lab, node) if (address := address_of(pod)) in node.pod_cidr)
    claimed = {IPv4Network((address, size), strict=False) for address in (node.pod_cidr.network_address, *used)}
    return sorted(claimed)


def announced(lab: Lab, node: Node) -> list[IPv4Network]:
    """What a node has other nodes send to it: its blocks, and addresses that it borrows from blocks of theirs (/32)."""
    addresses = map(address_of, networked(lab, node))
    return [*blocks(lab, node), *sorted(IPv4Network(one) for one in addresses if one not in node.pod_cidr)]


def host_local(network: IPv4Network, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order: round-robin from the address after `last`, without network, gateway and broadcast address."""
    usable = range(int(network.network_address) + 2, int(network.broadcast_address))
    start = usable.index(int(last)) + 1 if last is not None and int(last) in usable else 0
    return (IPv4Address(usable[(start + step) % len(usable)]) for step in range(len(usable)))
