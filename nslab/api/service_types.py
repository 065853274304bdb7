"""Services and EndpointSlices as frozen values (pure data)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.api.pod_types import Protocol
from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network


class ServiceType(StrEnum):
    """How a Service is reached."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """The endpoints for traffic: all, or those of the node that received it."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service. `target`: the endpoints' port, by number or by its name in their containers."""

    port: int
    target: int | str
    name: str = ""
    protocol: Protocol = Protocol.TCP
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """One Service, with all values that the API server allocates.

    `cluster_ip` is None for a headless one and for an ExternalName. `affinity`: seconds of ClientIP affinity, 0: none.
    `load_balancer_ips`: those that kube-proxy intercepts (ipMode VIP). `traffic`: its trafficDistribution.
    `other_proxy`: a label assigns it to another proxy than kube-proxy.
    `allocated`: the fields that its file leaves unset (clusterIP, ports[0].nodePort, …); their values may change.
    """

    name: str
    ports: tuple[ServicePort, ...] = ()
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    type: ServiceType = ServiceType.CLUSTER_IP
    cluster_ip: IPv4Address | None = None
    selector: tuple[tuple[str, str], ...] = ()
    external_ips: tuple[IPv4Address, ...] = ()
    load_balancer_ips: tuple[IPv4Address, ...] = ()
    source_ranges: tuple[IPv4Network, ...] = ()
    affinity: int = 0
    external_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    internal_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    health_check_node_port: int = 0
    external_name: str = ""
    publish_not_ready: bool = False
    traffic: str = ""
    other_proxy: bool = False
    allocated: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    """One endpoint of an EndpointSlice document. `pod`: NAMESPACE/NAME of its targetRef, or "".

    `zones`, `nodes`: its hints.
    """

    address: IPv4Address
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    hostname: str = ""
    zones: tuple[str, ...] = ()
    pod: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """Endpoints that the user wrote, for the Service that the label kubernetes.io/service-name names.

    Only those with IPv4 addresses: the IPv4 kube-proxy does not read others. `other_proxy`: as in a Service.
    """

    name: str
    service: str
    namespace: str = "default"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[tuple[str, int, Protocol], ...] = ()
    other_proxy: bool = False
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
