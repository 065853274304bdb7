"""What a lab file need not say.

| left out | becomes |
|---|---|
| networks | the course's: nodes 192.168.59.0/24, pods 20.96.0.0/12, services 10.96.0.0/12 |
| plugin, encapsulation | calico with IPIP; all others have none |
| proxy mode | iptables |
| a node's address | the first free one of the (first) node network from its 22nd on (the course's node1 is .22) |
| a client's address | the first free one from its 10th on |
| a node's podCIDR | the first free /26 (calico) or /24 (all others) of the pod network |
| a pod's node | the one whose podCIDR holds the address that it asks for, else the one with the fewest pods |
| a pod's hostname, uid | its name; a UUID by hash of lab, namespace and name |
| agnhost's arguments | netexec |
| kube-dns | added, where the lab names the name server's address (`addons`) |
| a Deployment's pods | so many replicas, behind the other pods (`replicas`) |
| what Services are given | see `allocate` |
"""

from __future__ import annotations

import hashlib
import heapq
import json
import uuid
from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab.addons import add_dns
from nslab.lab.draft import ClientDraft, LabDraft, NodeDraft, PodDraft
from nslab.lab.replicas import expand
from nslab.lab.types import Encapsulation, Plugin, ProxyMode, Scheduler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Container

NODE_NETWORK = IPv4Network("192.168.59.0/24")
POD_NETWORK = IPv4Network("20.96.0.0/12")
SERVICE_NETWORK = IPv4Network("10.96.0.0/12")
FIRST_NODE, FIRST_CLIENT = 22, 10
SHARE = {Plugin.CALICO: 26, Plugin.KUBENET: 24, Plugin.NONE: 24, Plugin.EXEC: 24}
"""The length of a node's podCIDR: Calico's block, the controller manager's --node-cidr-mask-size."""
REQUEST = "cni.projectcalico.org/ipAddrs"
"""The annotation by which a pod asks Calico for an address: a JSON list."""


def complete(draft: LabDraft) -> None:
    """Fill in what the file left out, as far as there is room for it; what cannot be filled in stays None."""
    _settings(draft)
    _machine_addresses(draft)
    _pod_cidrs(draft)
    add_dns(draft)
    expand(draft)
    finish_pods(draft)
    _schedule(draft)


def finish_pods(draft: LabDraft) -> None:
    """What a pod is, wherever it is going to be."""
    for pod in draft.pods:
        pod.requested = requested(pod)
        pod.hostname = pod.hostname or host_name(pod.name)
        pod.uid = pod.uid or uid(draft.name, pod.namespace, pod.name)
        pod.containers = tuple(map(_with_arguments, pod.containers))


def _with_arguments(container: Container) -> Container:
    return replace(container, args=("netexec",)) if container.builtin == "agnhost" and not container.args else container


def gateway(network: IPv4Network) -> IPv4Address | None:
    """The first host address of the node network: the way out, held by the switch."""
    return network[1] if network.num_addresses > 1 else None


def kept_back(cidr: IPv4Network, plugin: Plugin, encapsulation: Encapsulation) -> dict[IPv4Address, str]:
    """The addresses of a node's podCIDR that no pod can have, and what each is."""
    if plugin is Plugin.CALICO:
        # calico-node claims its tunnel's address before there are pods; the whole block is usable, first and last too.
        return {cidr[0]: "the tunnel's address"} if encapsulation is not Encapsulation.NONE else {}
    addresses = {cidr[0]: "the network's own address", cidr[-1]: "the broadcast address"}
    first = "the address of cbr0" if plugin is Plugin.KUBENET else "the pods' gateway, by custom"
    return addresses | {cidr[1]: first} if cidr.num_addresses > 1 else addresses


def requested(pod: PodDraft) -> IPv4Address | None:
    """The address that a pod asks for, if it asks for one in the right form."""
    try:
        match json.loads(pod.annotations.get(REQUEST, "")):
            case [str(address)]:
                return IPv4Address(address)
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def host_name(pod: str) -> str:
    """The kubelet's cut: 63 characters, no '-' at the end."""
    return pod[:63].rstrip("-.")


def uid(lab: str, namespace: str, pod: str) -> str:
    """A pod's uid; the API server draws one, we derive it."""
    digest = hashlib.sha256(f"{lab}/{namespace}/{pod}".encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def _settings(draft: LabDraft) -> None:
    """Networks, plugin, encapsulation and proxy mode."""
    draft.node_networks = draft.node_networks if draft.subnets else (*draft.node_networks, NODE_NETWORK)
    draft.pod_network = draft.pod_network or POD_NETWORK
    draft.service_network = draft.service_network or SERVICE_NETWORK
    draft.plugin = draft.plugin or Plugin.CALICO
    own = Encapsulation.IPIP if draft.plugin is Plugin.CALICO else Encapsulation.NONE
    draft.encapsulation = draft.encapsulation or own
    draft.proxy_mode = draft.proxy_mode or ProxyMode.IPTABLES
    draft.scheduler = draft.scheduler or Scheduler.RR


def _machine_addresses(draft: LabDraft) -> None:
    """Addresses for nodes and clients without one, nodes first."""
    first = next(iter(draft.subnets.values()))
    machines: tuple[NodeDraft | ClientDraft, ...] = (*draft.nodes, *draft.clients)
    taken = {machine.address for machine in machines} | {gateway(first)}
    taken |= {leg for router in draft.routers for leg in router.legs.values()}
    for_nodes, for_clients = (_hosts(first, number) for number in (FIRST_NODE, FIRST_CLIENT))
    for machine in machines:
        if machine.address is None:
            free = for_nodes if isinstance(machine, NodeDraft) else for_clients
            machine.address = next((address for address in free if address not in taken), None)
            taken.add(machine.address)


def _hosts(network: IPv4Network, first: int) -> Iterator[IPv4Address]:
    """The addresses of a network from a number on, then those before it; never its first, the gateway, or its last."""
    last = network.num_addresses - 1
    return (network[i] for i in chain(range(first, last), range(2, min(first, last))))


def _pod_cidrs(draft: LabDraft) -> None:
    """Shares of the pod network for nodes without one, each the first that overlaps with no other."""
    assert draft.pod_network
    assert draft.plugin
    pods = draft.pod_network
    length = max(SHARE[draft.plugin], pods.prefixlen)
    size = 1 << 32 - length
    given = sorted(node.pod_cidr for node in draft.nodes if node.pod_cidr)
    at, end, passed = int(pods[0]), int(pods[-1]), 0
    for node in draft.nodes:
        if node.pod_cidr:
            continue
        # Both walk upwards, so the whole is one pass: networks are nested or apart, and sorted.
        while passed < len(given) and int(given[passed][0]) < at + size:
            at = max(at, -(-(int(given[passed][-1]) + 1) // size) * size)
            passed += 1
        if at + size - 1 <= end:
            node.pod_cidr = IPv4Network((at, length))
        at += size


def _schedule(draft: LabDraft) -> None:
    """Nodes for pods without one: where the requested address is, else the fewest pods, else the first."""
    waiting = [pod for pod in draft.pods if not pod.node]
    if not waiting or not draft.nodes:
        return
    for pod in waiting:
        if address := pod.requested or pod.assigned:
            holders = (node.name for node in draft.nodes if node.pod_cidr and address in node.pod_cidr)
            pod.node = next(holders, "")
    load = Counter(pod.node for pod in draft.pods)
    queue = [(load[node.name] >= _room(draft, node.pod_cidr), load[node.name], i) for i, node in enumerate(draft.nodes)]
    heapq.heapify(queue)
    for pod in waiting:
        if not pod.node:
            _, count, index = queue[0]
            node = draft.nodes[index]
            pod.node = node.name
            heapq.heapreplace(queue, (count + 1 >= _room(draft, node.pod_cidr), count + 1, index))


def _room(draft: LabDraft, cidr: IPv4Network | None) -> int:
    """How many pods a podCIDR holds."""
    assert draft.plugin
    assert draft.encapsulation
    return cidr.num_addresses - len(kept_back(cidr, draft.plugin, draft.encapsulation)) if cidr else 0
