"""The endpoints controller: Services of a lab or a manifest with their endpoints, as kube-proxy reads them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nslab.api.service_types import ServiceType, TrafficPolicy
from nslab.compiler import topology
from nslab.compiler.addresses import address_of
from nslab.proxy import model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.api.pod_types import Pod
    from nslab.api.service_types import EndpointSlice, Service, ServicePort
    from nslab.lab.types import Node

SAME_NODE = "PreferSameNode"
SAME_ZONE = ("PreferSameZone", "PreferClose", SAME_NODE)
"""What trafficDistribution says of hints for zones; a node is in a zone, so who prefers the one prefers the other."""


class Objects(Protocol):
    """A lab or a manifest: anything with Services, pods and EndpointSlices, and perhaps nodes."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The known nodes."""

    @property
    def services(self) -> tuple[Service, ...]:
        """The Services, complete."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods; those without an address are no endpoints."""

    @property
    def slices(self) -> tuple[EndpointSlice, ...]:
        """EndpointSlices that the user wrote."""


def seen(resolved: Iterable[model.ServiceInfo]) -> tuple[model.ServiceInfo, ...]:
    """The Services that a kube-proxy sees."""
    return tuple(own for service in resolved if (own := model.visible(service)))


def resolve(objects: Objects) -> tuple[model.ServiceInfo, ...]:
    """The endpoints controller: every Service with the endpoints of its ports, sorted by name."""
    pods: dict[str, list[Pod]] = {}
    for pod in objects.pods:
        # A finished pod is never an endpoint, whatever the Service publishes (ShouldPodBeInEndpoints).
        if pod.assigned and not pod.finished:
            pods.setdefault(pod.namespace, []).append(pod)
    slices: dict[tuple[str, str], list[EndpointSlice]] = {}
    for item in objects.slices:
        slices.setdefault((item.namespace, item.service), []).append(item)
    zones, shares = {node.name: node.zone for node in objects.nodes}, topology.shares(objects.nodes)
    views = (
        _service(
            service, pods.get(service.namespace, ()), slices.get((service.namespace, service.name), ()), zones, shares
        )
        for service in objects.services
    )
    return tuple(sorted(views, key=lambda service: service.key))


def _service(
    service: Service,
    pods: Iterable[Pod],
    slices: Iterable[EndpointSlice],
    zones: Mapping[str, str],
    shares: tuple[str, ...],
) -> model.ServiceInfo:
    chosen = [pod for pod in pods if service.selector and {*service.selector} <= {*pod.labels}]
    external = service.type in (ServiceType.NODE_PORT, ServiceType.LOAD_BALANCER) or bool(service.external_ips)
    auto = shares and service.selector and topology.is_auto(service)
    made = model.ServiceInfo(
        namespace=service.namespace,
        name=service.name,
        cluster_ip=str(service.cluster_ip or ""),
        ports=tuple(_port(service, port, chosen, slices, zones) for port in service.ports),
        type=str(service.type),
        external_ips=tuple(map(str, service.external_ips)),
        load_balancer_ips=tuple(map(str, service.load_balancer_ips)),
        source_ranges=tuple(map(str, service.source_ranges)),
        affinity=service.affinity,
        external_local=external and service.external_policy is TrafficPolicy.LOCAL,
        internal_local=service.internal_policy is TrafficPolicy.LOCAL,
        health_check_node_port=service.health_check_node_port,
        external_name=service.external_name,
        publish_not_ready=service.publish_not_ready,
        other_proxy=service.other_proxy,
        node_zones=tuple(f"{node}/{zone}" for node, zone in zones.items() if zone) if auto else (),
        zone_shares=shares if auto else (),
    )
    return topology.hinted(made) if auto else made


def _port(
    service: Service,
    port: ServicePort,
    pods: Iterable[Pod],
    slices: Iterable[EndpointSlice],
    zones: Mapping[str, str],
) -> model.Port:
    """One port with its endpoints, sorted by address and port, as kube-proxy keeps them.

    Of two endpoints with one address and port, it keeps the one that does not terminate: a new pod has that address.
    """
    found: dict[tuple[str, int], model.Endpoint] = {}
    for end in (*_from_pods(service, port, pods, zones), *_from_slices(port, slices)):
        there = found.setdefault((end.ip, end.port), end)
        if there is not end and _standing(end) > _standing(there):
            found[end.ip, end.port] = end
    ordered = sorted(found.values(), key=lambda end: f"{end.ip}:{end.port}")
    return model.Port(port.name, port.port, str(port.protocol), port.node_port, tuple(ordered))


def _standing(end: model.Endpoint) -> tuple[bool, bool, bool, bool]:
    return not end.other_proxy, not end.terminating, end.ready, end.serving


def _from_pods(
    service: Service, port: ServicePort, pods: Iterable[Pod], zones: Mapping[str, str]
) -> Iterator[model.Endpoint]:
    traffic = "" if topology.is_auto(service) else service.traffic
    near, here = traffic in SAME_ZONE, traffic == SAME_NODE
    for pod in pods:
        if number := target_port(pod, port):
            zone = zones.get(pod.node, "") if near else ""
            yield model.Endpoint(
                str(address_of(pod)),
                number,
                pod.node,
                ready=(pod.ready and not pod.deletion) or service.publish_not_ready,
                serving=pod.ready,
                terminating=bool(pod.deletion),
                pod=f"{pod.namespace}/{pod.name}",
                hostname=pod.dns_name if pod.subdomain == service.name else "",
                zones=(zone,) if zone else (),
                nodes=(pod.node,) if here and pod.node else (),
            )


def target_port(pod: Pod, port: ServicePort) -> int:
    """The pod's port behind a Service's port; 0 if none of its containers has a port of that name."""
    if isinstance(port.target, int):
        return port.target
    serving = (one for one in pod.every if one.sidecar or one not in pod.init)
    declared = (declared for container in serving for declared in container.ports)
    return next((d.port for d in declared if (d.name, d.protocol) == (port.target, port.protocol)), 0)


def _from_slices(port: ServicePort, slices: Iterable[EndpointSlice]) -> Iterator[model.Endpoint]:
    """The endpoints as the user wrote them: only the endpoints controller reads publishNotReadyAddresses."""
    for item in slices:
        for name, number, protocol in item.ports:
            if (name, protocol) == (port.name, port.protocol):
                for end in item.endpoints:
                    yield model.Endpoint(
                        str(end.address), number, end.node, end.ready, end.serving, end.terminating, end.pod,
                        end.hostname, end.zones, end.nodes, item.other_proxy,
                    )  # fmt: skip
