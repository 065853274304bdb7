"""A lab while it is read: what the file says so far, with None or "" where it says nothing (or nothing readable).

The loader fills a draft, `defaults` completes it, `validate` finds what is wrong with it, and only then it becomes a
`Lab`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nslab.lab.types import Client, Container, Encapsulation, Lab, Networks, Node, Plugin, Pod, ProxyMode

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network


@dataclass(slots=True)
class NodeDraft:
    """A node, as far as it is known."""

    name: str = ""
    address: IPv4Address | None = None
    pod_cidr: IPv4Network | None = None


@dataclass(slots=True)
class ClientDraft:
    """A client, as far as it is known."""

    name: str = ""
    address: IPv4Address | None = None


@dataclass(slots=True)
class PodDraft:
    """A pod, as far as it is known; `document` is its place in the stream."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    node: str = ""
    hostname: str = ""
    containers: tuple[Container, ...] = ()
    share_process_namespace: bool = False
    restart_policy: str = "Always"
    requested: IPv4Address | None = None
    assigned: IPv4Address | None = None
    document: int = 0


@dataclass(slots=True)
class LabDraft:
    """A lab, as far as it is known. `document` is None until the stream had a Lab."""

    name: str = ""
    node_network: IPv4Network | None = None
    pod_network: IPv4Network | None = None
    service_network: IPv4Network | None = None
    plugin: Plugin | None = None
    encapsulation: Encapsulation | None = None
    proxy_mode: ProxyMode | None = None
    dns_address: IPv4Address | None = None
    nodes: tuple[NodeDraft, ...] = ()
    clients: tuple[ClientDraft, ...] = ()
    last_reserved: dict[str, IPv4Address] = field(default_factory=dict)
    document: int | None = None
    pods: list[PodDraft] = field(default_factory=list)


def finished(draft: LabDraft) -> Lab:
    """The lab of a draft that is complete and has no problems."""
    assert draft.node_network
    assert draft.pod_network
    assert draft.service_network
    assert draft.plugin
    assert draft.encapsulation
    assert draft.proxy_mode
    return Lab(
        name=draft.name,
        networks=Networks(draft.node_network, draft.pod_network, draft.service_network),
        plugin=draft.plugin,
        encapsulation=draft.encapsulation,
        proxy_mode=draft.proxy_mode,
        dns_address=draft.dns_address,
        nodes=tuple(_node(node) for node in draft.nodes),
        clients=tuple(_client(client) for client in draft.clients),
        pods=tuple(_pod(pod) for pod in draft.pods),
        last_reserved=tuple(draft.last_reserved.items()),
    )


def _node(node: NodeDraft) -> Node:
    assert node.address
    assert node.pod_cidr
    return Node(node.name, node.address, node.pod_cidr)


def _client(client: ClientDraft) -> Client:
    assert client.address
    return Client(client.name, client.address)


def _pod(pod: PodDraft) -> Pod:
    return Pod(
        name=pod.name,
        node=pod.node,
        containers=pod.containers,
        namespace=pod.namespace,
        labels=tuple(pod.labels.items()),
        annotations=tuple(pod.annotations.items()),
        share_process_namespace=pod.share_process_namespace,
        hostname=pod.hostname,
        uid=pod.uid,
        requested=pod.requested,
        assigned=pod.assigned,
    )
