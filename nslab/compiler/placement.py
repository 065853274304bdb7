"""Address allocation: Calico's IPAM and host-local, as pure functions of the addresses already taken."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from nslab.compiler.addresses import networked, pod_netns, tunnel_address
from nslab.compiler.networks import network
from nslab.dataclass import replace
from nslab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from ipaddress import IPv4Address

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node


def assign_addresses(lab: Lab) -> Lab:
    """The lab with an address for every pod; pods that have one keep it, so a new pod renumbers no other.

    A pod gets the address it requests, else the one it had (its status), else the next from its node's allocator; with
    hostNetwork its node's.
    Raises UsageError when a node has no address left.
    """
    chosen: dict[tuple[str, str], IPv4Address] = {}
    last = dict(lab.last_reserved)
    requested = {pod.requested for pod in lab.pods}
    for node in lab.nodes:
        pods = networked(lab, node)
        fixed = {pod: _fixed(lab, pod, node, requested) for pod in pods}
        free = _free(lab, node, last.get(node.name), requested | {*fixed.values()})
        for pod, address in fixed.items():
            if address:
                chosen[pod.namespace, pod.name] = address
            else:
                chosen[pod.namespace, pod.name] = last[node.name] = _next(free, node)
    nodes = {node.name: node.address for node in lab.nodes}
    placed = tuple(
        replace(pod, assigned=nodes[pod.node] if pod.host_network else chosen[pod.namespace, pod.name])
        for pod in lab.pods
    )
    last_reserved = tuple(last.items()) if network(lab).REMEMBERS else ()
    held = {*chosen.values()}
    released = () if network(lab).REMEMBERS else tuple(address for address in lab.released if address not in held)
    return replace(lab, pods=placed, last_reserved=last_reserved, released=released)


def _fixed(lab: Lab, pod: Pod, node: Node, requested: set[IPv4Address | None]) -> IPv4Address | None:
    """The address that a pod requests or keeps; None if the allocator chooses."""
    if pod.assigned and network(lab).KEEPS:
        return pod.assigned
    return pod.requested or _kept(pod, node, requested)


def _kept(pod: Pod, node: Node, requested: set[IPv4Address | None]) -> IPv4Address | None:
    """The address that a pod had, unless another pod now requests it, or its node has another range."""
    return pod.assigned if pod.assigned not in requested and pod.assigned and pod.assigned in node.pod_cidr else None


def _next(free: Iterator[IPv4Address], node: Node) -> IPv4Address:
    for address in free:
        return address
    raise UsageError(f"node {node.name} has no address left in {node.pod_cidr} for all of its pods")


def adopted(lab: Lab, given: Mapping[str, IPv4Address]) -> Lab:
    """The lab with the addresses that CNI plugins gave its pods, by network namespace. UsageError for a duplicate."""
    pods = tuple(replace(pod, assigned=given.get(pod_netns(lab, pod), pod.assigned)) for pod in lab.pods)
    owners: dict[IPv4Address | None, Pod] = {}
    for pod in (one for one in pods if not one.host_network):
        other = owners.setdefault(pod.assigned, pod)
        if other is not pod:
            raise UsageError(
                f"the CNI plugins gave {pod.assigned} to {other.name} on {other.node} and to {pod.name} on {pod.node}; "
                'each node needs a range of its own: write "{{ node.podCIDR }}" where the configuration names one'
            )
    return replace(lab, pods=pods)


def _free(lab: Lab, node: Node, last: IPv4Address | None, taken: set[IPv4Address | None]) -> Iterator[IPv4Address]:
    """The free addresses of the node, in its allocator's order."""
    order = network(lab).allocation(node, last)
    if not network(lab).REMEMBERS:
        order = _released_last(lab, node, order)
    reserved = tunnel_address(lab, node)
    return _without(order, taken if reserved is None else taken | {reserved})


def _released_last(lab: Lab, node: Node, order: Iterator[IPv4Address]) -> Iterator[IPv4Address]:
    """What was given back comes after all others, the longest ago first (Calico: a block's `unallocated`)."""
    released = dict.fromkeys(address for address in lab.released if address in node.pod_cidr)
    return chain((address for address in order if address not in released), released)


def _without(order: Iterable[IPv4Address], taken: set[IPv4Address | None]) -> Iterator[IPv4Address]:
    return (address for address in order if address not in taken)
