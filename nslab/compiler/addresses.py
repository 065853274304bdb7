"""Who gets which address: Calico's allocator and host-local, as pure functions of what is already taken."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, Plugin
from nslab.objects import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.lab.types import Lab, Node, Pod

CALICO_BLOCK = 26
"""Prefix length of an address block (Calico's IPPool.blockSize)."""


def place(lab: Lab) -> Lab:
    """The lab with an address for every pod; pods that have one keep it, so inserting a pod renumbers nobody.

    A pod gets what it requests, else what it had (its status), else the next that its node's allocator gives out.
    Raises UsageError when a node has no address left.
    """
    chosen: dict[tuple[str, str], IPv4Address] = {}
    last = dict(lab.last_reserved)
    requested = {pod.requested for pod in lab.pods}
    for node in lab.nodes:
        pods = [pod for pod in lab.pods if pod.node == node.name]
        fixed = {pod: _fixed(lab, pod, node, requested) for pod in pods}
        free = _free(lab, node, last.get(node.name), {address for address in fixed.values() if address})
        for pod, address in fixed.items():
            if address:
                chosen[pod.namespace, pod.name] = address
            else:
                chosen[pod.namespace, pod.name] = last[node.name] = _next(free, node)
    placed = tuple(replace(pod, assigned=chosen[pod.namespace, pod.name]) for pod in lab.pods)
    return replace(lab, pods=placed, last_reserved=() if lab.plugin is Plugin.CALICO else tuple(last.items()))


def _fixed(lab: Lab, pod: Pod, node: Node, requested: set[IPv4Address | None]) -> IPv4Address | None:
    """The address that a pod is known to get. CNI plugins give what they will, and read a wish when a pod comes."""
    if lab.plugin is Plugin.EXEC:
        return pod.assigned or pod.requested
    return pod.requested or _kept(pod, node, requested)


def _kept(pod: Pod, node: Node, requested: set[IPv4Address | None]) -> IPv4Address | None:
    """The address that a pod had, unless another asks for it by now, or its node has another range."""
    return pod.assigned if pod.assigned not in requested and pod.assigned and pod.assigned in node.pod_cidr else None


def _next(free: Iterator[IPv4Address], node: Node) -> IPv4Address:
    for address in free:
        return address
    raise UsageError(f"node {node.name} has no address left in {node.pod_cidr} for all of its pods")


def adopted(lab: Lab, given: Mapping[str, IPv4Address]) -> Lab:
    """The lab with the addresses that CNI plugins gave its pods, by namespace. UsageError if two have the same."""
    pods = tuple(replace(pod, assigned=given.get(pod_netns(lab, pod), pod.assigned)) for pod in lab.pods)
    owners: dict[IPv4Address | None, Pod] = {}
    for pod in pods:
        other = owners.setdefault(pod.assigned, pod)
        if other is not pod:
            raise UsageError(
                f"the CNI plugins gave {pod.assigned} to {other.name} on {other.node} and to {pod.name} on {pod.node}; "
                'each node needs a range of its own: write "{{ node.podCIDR }}" where the configuration names one'
            )
    return replace(lab, pods=pods)


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


def _free(lab: Lab, node: Node, last: IPv4Address | None, taken: set[IPv4Address]) -> Iterator[IPv4Address]:
    """The addresses that the node's allocator would hand out, in its order."""
    order = iter(node.pod_cidr) if lab.plugin is Plugin.CALICO else _host_local(node.pod_cidr, last)
    reserved = tunnel_address(lab, node)
    return _without(order, taken if reserved is None else taken | {reserved})


def _host_local(network: IPv4Network, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order: on from the last one given, once around; never the network, gateway or broadcast address."""
    usable = range(int(network.network_address) + 2, int(network.broadcast_address))
    start = usable.index(int(last)) + 1 if last is not None and int(last) in usable else 0
    return (IPv4Address(usable[(start + step) % len(usable)]) for step in range(len(usable)))


def _without(order: Iterable[IPv4Address], taken: set[IPv4Address]) -> Iterator[IPv4Address]:
    return (address for address in order if address not in taken)
