"""What is wrong with a lab as a whole: checks that need more than one field. Each yields; `load` finds the places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TypeAlias

from nslab.lab.defaults import REQUEST, gateway, kept_back
from nslab.lab.draft import LabDraft, PodDraft
from nslab.lab.types import Encapsulation, Plugin, ProxyMode
from nslab.lab.words import counted, listed, shown

RUNNING_MODES = frozenset((ProxyMode.NONE,))
"""The proxy modes that this release runs."""
RESERVED = ("switch", "control")
"""Hosts of the lab's own (`nslab.net.names.RESERVED`; a test holds the two equal)."""
LONGEST_NAMESPACE = 255
"""Bytes of a file name in /run/netns."""
SERVER = ("netexec",)
"""What the built-in agnhost can do."""
# Ranges that the kernel treats specially wherever they appear, and Calico's next hop among them.
SPECIAL = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local; Calico's 169.254.1.1 is there",
    IPv4Network("224.0.0.0/3"): "multicast and reserved",
}

Path: TypeAlias = tuple[int | str, ...]
"""Where in a file: number of the document, then fields and indexes. The thing itself, or the nearest above it."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong; `first` is the other place that it is about, `word` may be a misspelling of `known`."""

    path: Path
    text: str
    first: Path = ()
    word: str = ""
    known: tuple[str, ...] = ()


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
    """Settings that exclude each other, or that this release does not run."""
    if draft.plugin is Plugin.KUBENET and draft.encapsulation is not Encapsulation.NONE:
        yield Complaint(
            _spec(draft, "cni", "encapsulation"),
            f"kubenet has no encapsulation, and this asks for {draft.encapsulation}; remove it, or take plugin: calico",
        )
    if draft.proxy_mode not in RUNNING_MODES:
        yield Complaint(
            _spec(draft, "proxy", "mode"),
            f"proxy mode {draft.proxy_mode} comes with the next release; write proxy: {{mode: none}}",
        )
    services = draft.service_network
    if draft.dns_address and services and draft.dns_address not in services:
        yield Complaint(
            _spec(draft, "dns", "address"),
            f"the name server's address {draft.dns_address} is outside the service network {services}",
        )


def hosts(draft: LabDraft) -> Iterator[Complaint]:
    """Each host has a name of its own, which makes the name of a namespace."""
    seen: dict[str, Path] = {}
    for what, names in (("node", [n.name for n in draft.nodes]), ("client", [c.name for c in draft.clients])):
        for index, name in enumerate(names):
            path = _spec(draft, f"{what}s", index, "name")
            yield from _host(path, what, name, seen)
    for pod in draft.pods:
        if pod.namespace == "default":
            path = (pod.document, "metadata", "name")
            if pod.name in RESERVED or pod.name in seen:
                yield from _host(path, "pod", pod.name, dict(seen))
        elif len(f"nslab.{draft.name}.{pod.namespace}_{pod.name}") > LONGEST_NAMESPACE:
            yield _too_long(draft, (pod.document, "metadata", "name"), f"{pod.namespace}_{pod.name}")
        if pod.namespace == "default" and len(f"nslab.{draft.name}.{pod.name}") > LONGEST_NAMESPACE:
            yield _too_long(draft, (pod.document, "metadata", "name"), pod.name)


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


def pods(draft: LabDraft) -> Iterator[Complaint]:
    """Each pod has a name and a uid of its own."""
    names: dict[tuple[str, str], Path] = {}
    uids: dict[str, Path] = {}
    for pod in draft.pods:
        path: Path = (pod.document, "metadata", "name")
        if pod.name and names.setdefault((pod.namespace, pod.name), path) != path:
            text = f"pod {shown(pod.name)} of namespace {shown(pod.namespace)} is there twice"
            yield Complaint(path, text, names[pod.namespace, pod.name])
        elif pod.name and uids.setdefault(pod.uid, path) != path:
            yield Complaint((pod.document, "metadata", "uid"), f"two pods have the uid {pod.uid}", uids[pod.uid])
        if pod.restart_policy != "Always":
            yield Complaint(
                (pod.document, "spec", "restartPolicy"),
                f"restartPolicy: nslab supports Always only, and this is {shown(pod.restart_policy)}",
                word=pod.restart_policy,
                known=("Always",),
            )


def containers(draft: LabDraft) -> Iterator[Complaint]:
    """What a pod's containers are, and what they share."""
    for pod in draft.pods:
        seen: dict[str, Path] = {}
        for index, container in enumerate(pod.containers):
            path = (pod.document, "spec", "containers", index)
            name = shown(container.name) if container.name else "this container"
            if container.name and seen.setdefault(container.name, (*path, "name")) != (*path, "name"):
                text = f"two containers of pod {shown(pod.name)} are called {name}"
                yield Complaint((*path, "name"), text, seen[container.name])
            if container.builtin and container.args[0] not in SERVER:
                yield Complaint(
                    (*path, "args", 0),
                    f"the built-in agnhost has no {shown(container.args[0])}, only {listed(SERVER)}; give a command",
                    word=container.args[0],
                    known=SERVER,
                )
            elif not container.image and not container.command:
                yield Complaint(path, f"{name} has neither image nor command; give image: agnhost, or a command")
            elif not container.builtin and not container.command:
                image = shown(container.image)
                text = f"{name}: images are not pulled, and {image} is not the built-in agnhost; give a command"
                yield Complaint((*path, "image"), text)
            elif container.command and not container.command[0]:
                yield Complaint((*path, "command"), f"{name}: the command's first word is empty")
        yield from _ports(pod)


def _ports(pod: PodDraft) -> Iterator[Complaint]:
    """The ports of one pod: its containers share one network namespace, so a port has one owner."""
    ports: dict[tuple[int, str], tuple[Path, str]] = {}
    names: dict[str, Path] = {}
    for index, container in enumerate(pod.containers):
        for place, port in enumerate(container.ports):
            path: Path = (pod.document, "spec", "containers", index, "ports", place, "containerPort")
            if port.port:
                first, owner = ports.setdefault((port.port, port.protocol), (path, container.name))
                what = f"port {port.port}/{port.protocol}"
                if first != path and owner == container.name:
                    yield Complaint(path, f"container {shown(owner)} declares {what} twice", first)
                elif first != path:
                    text = f"containers {shown(owner)} and {shown(container.name)} both declare {what}"
                    yield Complaint(path, f"{text}, and a pod's containers share one network namespace", first)
            path = (*path[:-1], "name")
            if port.name and names.setdefault(port.name, path) != path:
                yield Complaint(path, f"two ports of pod {shown(pod.name)} are called {port.name}", names[port.name])


def placement(draft: LabDraft) -> Iterator[Complaint]:
    """Pods are on nodes that exist."""
    nodes = tuple(node.name for node in draft.nodes)
    if not all(nodes):
        return  # one of them may be the node that is meant
    known = set(nodes)
    for pod in draft.pods:
        if nodes and pod.node not in known:
            path = (pod.document, "spec", "nodeName")
            yield Complaint(path, f"there is no node {shown(pod.node)}", word=pod.node, known=nodes)


def pod_addresses(draft: LabDraft) -> Iterator[Complaint]:
    """A pod's address is in its node's podCIDR, not kept back for something else, and no other pod's."""
    assert draft.plugin
    assert draft.encapsulation
    cidrs = {node.name: node.pod_cidr for node in draft.nodes}
    back = {cidr: kept_back(cidr, draft.plugin, draft.encapsulation) for cidr in cidrs.values() if cidr}
    seen: dict[IPv4Address, Path] = {}
    for pod in draft.pods:
        path: Path = (pod.document, "metadata", "annotations", REQUEST)
        if REQUEST in pod.annotations and draft.plugin is Plugin.KUBENET:
            yield Complaint(path, f"kubenet gives out addresses in turn and does not read {REQUEST}; remove it")
        elif REQUEST in pod.annotations and not pod.requested:
            yield Complaint(path, f"{REQUEST} must be a JSON list with one IPv4 address, such as '[\"20.111.156.7\"]'")
        if pod.requested and pod.assigned and pod.requested != pod.assigned:
            text = f"status.podIP is {pod.assigned}, and the pod asks for {pod.requested}; remove one of them"
            yield Complaint((pod.document, "status", "podIP"), text)
        if pod.assigned and not pod.requested:
            path = (pod.document, "status", "podIP")
        address, cidr = pod.requested or pod.assigned, cidrs.get(pod.node)
        if address is None:
            continue
        if cidr and address not in cidr:
            text = f"the address {address} of pod {shown(pod.name)} is outside the podCIDR {cidr} of {shown(pod.node)}"
            yield Complaint(path, text)
        elif cidr and address in back[cidr]:
            use = f"on {shown(pod.node)} it is {back[cidr][address]}"
            yield Complaint(path, f"pod {shown(pod.name)} cannot have the address {address}; {use}")
        elif seen.setdefault(address, path) != path:
            yield Complaint(path, f"two pods have the address {address}", seen[address])


def room(draft: LabDraft) -> Iterator[Complaint]:
    """A node has no more pods than its podCIDR has addresses for them."""
    assert draft.plugin
    assert draft.encapsulation
    load = Counter(pod.node for pod in draft.pods)
    for index, node in enumerate(draft.nodes):
        if not node.pod_cidr or not node.name:
            continue
        back = kept_back(node.pod_cidr, draft.plugin, draft.encapsulation)
        free = node.pod_cidr.num_addresses - len(back)
        if load[node.name] > free:
            but = f" ({len(back)} of its addresses kept back: {', '.join(back.values())})" if back else ""
            has = f"{shown(node.name)} has {counted(load[node.name], 'pod')}"
            text = f"{has}, and its podCIDR {node.pod_cidr} holds {free}{but}"
            yield Complaint(_spec(draft, "nodes", index, "podCIDR"), text)


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
CHECKS_WITHOUT_LAB: tuple[Check, ...] = (pods, containers)
CHECKS: tuple[Check, ...] = (
    *CHECKS_WITHOUT_LAB,
    networks,
    settings,
    hosts,
    machine_addresses,
    pod_cidrs,
    placement,
    pod_addresses,
    room,
    last_reserved,
)
