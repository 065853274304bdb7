"""What is wrong with a lab as a whole: checks that need more than one field. Each yields; `load` finds the places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import TypeAlias

from nslab.lab import validate_objects, validate_pods
from nslab.lab.defaults import gateway
from nslab.lab.draft import LabDraft
from nslab.lab.types import Encapsulation, Plugin
from nslab.lab.words import Complaint, Path, shown

RESERVED = ("switch", "control")
"""Hosts of the lab's own (`nslab.net.names.RESERVED`; a test holds the two equal)."""
LONGEST_NAMESPACE = 255
"""Bytes of a file name in /run/netns."""
# Ranges that the kernel treats specially wherever they appear, and Calico's next hop among them.
SPECIAL = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local; Calico's 169.254.1.1 is there",
    IPv4Network("224.0.0.0/3"): "multicast and reserved",
}


def complaints(draft: LabDraft) -> Iterator[Complaint]:
    """Everything that is wrong with a complete draft."""
    for check in CHECKS if draft.document is not None else CHECKS_WITHOUT_LAB:
        yield from check(draft)


def networks(draft: LabDraft) -> Iterator[Complaint]:
    """The three networks lie apart, and in ranges that can be used."""
    seen: list[tuple[str, IPv4Network]] = []
    for name, network, longest in (
        ("nodes", draft.node_network, 30),
        ("pods", draft.pod_network, 30),
        ("services", draft.service_network, 30),
    ):
        assert network
        path = _spec(draft, "networks", name)
        for other, range_ in seen:
            if network.overlaps(range_):
                yield Complaint(path, f"the networks {other} ({range_}) and {name} ({network}) overlap")
        for special, what in SPECIAL.items():
            if network.overlaps(special):
                yield Complaint(path, f"{name}: {network} overlaps with {special} ({what}); choose another")
        if network.prefixlen > longest:
            yield Complaint(path, f"{name}: {network} is too small; /{longest} is the smallest")
        seen.append((name, network))


def settings(draft: LabDraft) -> Iterator[Complaint]:
    """Settings that exclude each other."""
    if draft.plugin is not Plugin.CALICO and draft.encapsulation is not Encapsulation.NONE:
        who = "kubenet has" if draft.plugin is Plugin.KUBENET else "without a plugin there is"
        yield Complaint(
            _spec(draft, "cni", "encapsulation"),
            f"{who} no encapsulation, and this asks for {draft.encapsulation}; remove it, or take plugin: calico",
        )
    services = draft.service_network
    if draft.dns_address and services and draft.dns_address not in services:
        yield Complaint(
            _spec(draft, "dns", "address"),
            f"the name server's address {draft.dns_address} is outside the service network {services}",
        )
    elif draft.dns_address and services and draft.dns_address in (services[0], services[-1]):
        what = "the network's own" if draft.dns_address == services[0] else "the broadcast"
        text = f"the name server cannot have the address {draft.dns_address}; it is {what} address"
        yield Complaint(_spec(draft, "dns", "address"), text)


def hosts(draft: LabDraft) -> Iterator[Complaint]:
    """Each host has a name of its own, which makes the name of a namespace."""
    seen: dict[str, Path] = {}
    for what, names in (("node", [n.name for n in draft.nodes]), ("client", [c.name for c in draft.clients])):
        for index, name in enumerate(names):
            path = _spec(draft, f"{what}s", index, "name")
            yield from _host(path, what, name, seen)
    for pod in draft.pods:
        path = (*pod.place, "metadata", "name")
        if pod.namespace == "default":
            if pod.name in RESERVED or pod.name in seen:
                yield from _host(path, "pod", pod.name, seen)
        elif len(f"nslab.{draft.name}.{pod.namespace}_{pod.name}") > LONGEST_NAMESPACE:
            yield _too_long(draft, path, f"{pod.namespace}_{pod.name}")
        if pod.namespace == "default" and len(f"nslab.{draft.name}.{pod.name}") > LONGEST_NAMESPACE:
            yield _too_long(draft, path, pod.name)


def _host(path: Path, what: str, name: str, seen: dict[str, Path]) -> Iterator[Complaint]:
    """One host's name."""
    if not name:
        return
    if name in RESERVED:
        yield Complaint(path, f"a {what} cannot be called {name}; nslab has a host of that name itself")
    elif name in seen:
        yield Complaint(path, f"a {what} cannot be called {shown(name)}; another host has that name", seen[name])
    seen.setdefault(name, path)


def _too_long(draft: LabDraft, path: Path, host: str) -> Complaint:
    """A host whose namespace cannot be named."""
    length = len(f"nslab.{draft.name}.{host}")
    return Complaint(
        path, f"the namespace's name nslab.LAB.{shown(host)} has {length} bytes, and {LONGEST_NAMESPACE} is the limit"
    )


def machine_addresses(draft: LabDraft) -> Iterator[Complaint]:
    """Nodes and clients have addresses of the node network, each its own."""
    network = draft.node_network
    assert network
    special = {network[0]: "the network's own address", network[-1]: "the broadcast address"}
    if first := gateway(network):
        special[first] = "the gateway's"
    seen: dict[IPv4Address, Path] = {}
    nodes = [("nodes", i, node.name, node.address) for i, node in enumerate(draft.nodes)]
    clients = [("clients", i, client.name, client.address) for i, client in enumerate(draft.clients)]
    for group, index, name, address in (*nodes, *clients):
        path = _spec(draft, group, index, "address")
        who = shown(name) if name else "this machine"
        if address is None:
            yield Complaint(path, f"the node network {network} has no address left for {who}")
        elif address not in network:
            yield Complaint(path, f"the address {address} of {who} is outside the node network {network}")
        elif address in special:
            yield Complaint(path, f"{who} cannot have the address {address}; it is {special[address]}")
        elif address in seen:
            yield Complaint(path, f"{who} cannot have the address {address}; another machine has it", seen[address])
        else:
            seen[address] = path


def pod_cidrs(draft: LabDraft) -> Iterator[Complaint]:
    """Each node has its own part of the pod network."""
    network = draft.pod_network
    assert network
    given: list[tuple[IPv4Network, int]] = []
    for index, node in enumerate(draft.nodes):
        path = _spec(draft, "nodes", index, "podCIDR")
        who = shown(node.name) if node.name else "this node"
        if node.pod_cidr is None:
            yield Complaint(path, f"the pod network {network} has no room left for {who}")
            continue
        given.append((node.pod_cidr, index))
        if not node.pod_cidr.subnet_of(network):
            yield Complaint(path, f"the podCIDR {node.pod_cidr} of {who} is outside the pod network {network}")
        elif node.pod_cidr.prefixlen > 30:
            yield Complaint(path, f"the podCIDR {node.pod_cidr} of {who} is too small; /30 is the smallest")
    # Networks are nested or apart: sorted, each can only overlap with the widest one before it that has not ended.
    widest: tuple[IPv4Network, int] | None = None
    for cidr, index in sorted(given):
        if widest is None or not cidr.overlaps(widest[0]):
            widest = (cidr, index)
            continue
        early, late = sorted((index, widest[1]))
        a, b = draft.nodes[early], draft.nodes[late]
        yield Complaint(
            _spec(draft, "nodes", late, "podCIDR"),
            f"the podCIDRs of {shown(a.name)} ({a.pod_cidr}) and {shown(b.name)} ({b.pod_cidr}) overlap",
            _spec(draft, "nodes", early, "podCIDR"),
        )


def last_reserved(draft: LabDraft) -> Iterator[Complaint]:
    """What the allocators remember belongs to nodes that exist."""
    assert draft.document is not None
    cidrs = {node.name: node.pod_cidr for node in draft.nodes}
    for name, address in draft.last_reserved.items():
        path: Path = (draft.document, "status", "lastReserved", name)
        if name not in cidrs:
            yield Complaint(path, f"lastReserved: there is no node {shown(name)}", word=name, known=tuple(cidrs))
        elif (cidr := cidrs[name]) and address not in cidr:
            yield Complaint(path, f"lastReserved: {address} is outside the podCIDR {cidr} of {shown(name)}")


def _spec(draft: LabDraft, *path: int | str) -> Path:
    """A place in the Lab document's spec."""
    return (draft.document or 0, "spec", *path)


Check: TypeAlias = Callable[[LabDraft], Iterator[Complaint]]
CHECKS_WITHOUT_LAB: tuple[Check, ...] = (
    validate_pods.pods,
    validate_pods.containers,
    validate_objects.services,
    validate_objects.slices,
    validate_objects.deployments,
    validate_objects.admitted,
    validate_objects.probes,
)
CHECKS: tuple[Check, ...] = (
    *CHECKS_WITHOUT_LAB,
    networks,
    settings,
    hosts,
    machine_addresses,
    pod_cidrs,
    validate_pods.placement,
    validate_pods.addresses,
    validate_pods.room,
    last_reserved,
    validate_objects.allocation,
)
