"""A lab while it is read: what the file says so far, with None or "" where it says nothing (or nothing readable).

The loader fills a draft, `defaults` completes it, `validate` finds what is wrong with it, and only then `finish` makes
it a `Lab`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field
from nslab.lab.types import NOTHING_SAID, RestartPolicy

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from nslab.lab.types import Container, Encapsulation, Plugin, ProxyMode, Scheduler, SecurityContext
    from nslab.lab.words import Path

KEPT = -1
"""The document of what comes from no file: it was in the lab before."""


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
class RouterDraft:
    """A router, as far as it is known. An address that cannot be read keeps its place."""

    name: str = ""
    addresses: tuple[IPv4Address | str, ...] = ()
    bgp: bool = False

    @property
    def legs(self) -> dict[int, IPv4Address]:
        """The addresses that can be read, by their places."""
        return {index: one for index, one in enumerate(self.addresses) if not isinstance(one, str)}


@dataclass(slots=True)
class PodDraft:
    """A pod, as far as it is known; `document` is its place in the stream, `inside` what of that document it is."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    uid: str = ""
    node: str = ""
    hostname: str = ""
    containers: tuple[Container, ...] = ()
    share_process_namespace: bool = False
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    security: SecurityContext = NOTHING_SAID
    requested: IPv4Address | None = None
    assigned: IPv4Address | None = None
    owner: str = ""
    ready: bool = True
    document: int = 0
    inside: Path = ()

    @property
    def place(self) -> Path:
        """Where its `metadata` and `spec` are."""
        return (self.document, *self.inside)


@dataclass(slots=True)
class ServicePortDraft:
    """A port of a Service or an EndpointSlice, as the file has it."""

    port: int = 0
    name: str = ""
    protocol: str = "TCP"
    target: int | str | None = None
    node_port: int = 0


@dataclass(slots=True)
class ServiceDraft:
    """A Service, as the file has it: words that may be wrong. `document` is its place in the stream."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    type: str = "ClusterIP"
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    ports: tuple[ServicePortDraft, ...] = ()
    affinity: str = "None"
    timeout: int | None = None
    external_policy: str = ""
    internal_policy: str = "Cluster"
    external_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    health_check_node_port: int = 0
    external_name: str = ""
    publish_not_ready: bool = False
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    allocate: bool | None = None
    ingress: tuple[str, ...] = ()
    document: int = 0

    @property
    def headless(self) -> bool:
        """Whether it has no address of its own, and DNS names its pods instead."""
        return "None" in (self.cluster_ip, *self.cluster_ips[:1])

    @property
    def asked(self) -> str:
        """The cluster IP that it asks for, None, or ""."""
        return self.cluster_ip or "".join(self.cluster_ips[:1])

    @property
    def external(self) -> bool:
        """Whether it can be reached from outside the cluster."""
        return self.type in ("NodePort", "LoadBalancer") or (self.type == "ClusterIP" and bool(self.external_ips))

    @property
    def needs_health_check(self) -> bool:
        """Whether a load balancer has to ask each node for endpoints."""
        return self.type == "LoadBalancer" and self.external_policy == "Local"


@dataclass(slots=True)
class EndpointDraft:
    """An endpoint of an EndpointSlice, as the file has it."""

    addresses: tuple[str, ...] = ()
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    hostname: str = ""
    zones: tuple[str, ...] = ()
    target: tuple[str, str] = ("", "")


@dataclass(slots=True)
class SliceDraft:
    """An EndpointSlice, as the file has it."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    address_type: str = "IPv4"
    endpoints: tuple[EndpointDraft, ...] = ()
    ports: tuple[ServicePortDraft, ...] = ()
    document: int = 0

    @property
    def service(self) -> str:
        """The Service that it is for."""
        return self.labels.get("kubernetes.io/service-name", "")


@dataclass(slots=True)
class DeploymentDraft:
    """A Deployment, as the file has it."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    replicas: int = 1
    selector: dict[str, str] = field(default_factory=dict)
    template: PodDraft = field(default_factory=PodDraft)
    document: int = 0


@dataclass(slots=True)
class LabDraft:
    """A lab, as far as it is known. `document` is None until the stream had a Lab."""

    name: str = ""
    node_networks: tuple[IPv4Network | str, ...] = ()
    pod_network: IPv4Network | None = None
    service_network: IPv4Network | None = None
    plugin: Plugin | None = None
    encapsulation: Encapsulation | None = None
    conf: str = ""
    config: str = ""
    cni_path: tuple[str, ...] = ()
    routes: bool | None = None
    masquerade: bool | None = None
    proxy_mode: ProxyMode | None = None
    scheduler: Scheduler | None = None
    dns_address: IPv4Address | None = None
    nodes: tuple[NodeDraft, ...] = ()
    clients: tuple[ClientDraft, ...] = ()
    routers: tuple[RouterDraft, ...] = ()
    last_reserved: dict[str, IPv4Address] = field(default_factory=dict)
    addons: tuple[str, ...] = ()
    document: int | None = None
    pods: list[PodDraft] = field(default_factory=list)
    services: list[ServiceDraft] = field(default_factory=list)
    slices: list[SliceDraft] = field(default_factory=list)
    deployments: list[DeploymentDraft] = field(default_factory=list)

    @property
    def subnets(self) -> dict[int, IPv4Network]:
        """The subnets of the node network that can be read, by their places."""
        return {index: one for index, one in enumerate(self.node_networks) if not isinstance(one, str)}
