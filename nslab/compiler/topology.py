"""Services with the annotation topology-mode: Auto, and what the endpoints controller knows of the nodes for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.proxy.topology import zone_hints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.api.service_types import Service
    from nslab.lab.types import Node
    from nslab.proxy import model

MODES = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
"""The annotation, and its name before Kubernetes 1.27, which counts if the other is missing."""
EXCLUDED = {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
"""Labels of nodes that do not count."""


def is_auto(service: Service) -> bool:
    """Whether a Service asks for hints by the zones' shares of processors; trafficDistribution then has no effect."""
    annotations = dict(service.annotations)
    return next((annotations[name] for name in MODES if name in annotations), "") in ("Auto", "auto")


def shares(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The zone of each node that counts; () if one has none, or if there is one zone alone."""
    zones = tuple(node.zone for node in nodes if not EXCLUDED & dict(node.labels).keys())
    return zones if all(zones) and len({*zones}) > 1 else ()


def hinted(service: model.ServiceInfo) -> model.ServiceInfo:
    """A Service whose `zone_shares` are set, with the hints for its ready endpoints."""
    zones = dict(entry.split("/", 1) for entry in service.node_zones)
    ready = {end.ip: zones.get(end.node, "") for port in service.ports for end in port.endpoints if end.ready}
    found = zone_hints(ready, service.zone_shares)
    ports = (
        replace(port, endpoints=tuple(replace(end, zones=_zones(end, found)) for end in port.endpoints))
        for port in service.ports
    )
    return replace(service, ports=tuple(ports))


def _zones(end: model.Endpoint, found: dict[str, str]) -> tuple[str, ...]:
    return (found[end.ip],) if end.ready and end.ip in found else ()
