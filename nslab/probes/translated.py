"""What becomes of a connection to a Service that a node translates, in each proxy mode, without its rules (pure)."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from nslab.lab.types import ProxyMode
from nslab.probes.calls import Way
from nslab.probes.probe import Outcome
from nslab.proxy.choose import choose

if TYPE_CHECKING:
    from nslab.probes.probe import ProbeHost
    from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo


def reached(
    mode: ProxyMode, service: ServiceInfo, port: Port, proxy: Proxy, asker: ProbeHost, way: Way
) -> tuple[Outcome, tuple[Endpoint, ...]]:
    """The outcome of a connection that the node of `proxy` translates, and its possible endpoints."""
    chosen, inside = choose(service, port, proxy), way in (Way.CLUSTER_IP, Way.NAME)
    if mode is ProxyMode.USERSPACE:
        # The proxy process ignores traffic policies; it accepts a connection before it looks for an endpoint.
        ready = tuple(end for end in port.endpoints if end.ready)
        silent = Outcome.ENDED if port.protocol == "TCP" else Outcome.TIMED_OUT
        return (Outcome.REACHED, ready) if ready else (silent, ())
    if way is Way.LOAD_BALANCER and not _admitted(service, asker):
        return Outcome.TIMED_OUT, ()
    local = service.internal_local if inside else service.external_local
    ends = chosen.local if local else chosen.cluster
    if not ends and local and mode is ProxyMode.IPVS:
        ends = chosen.cluster  # IPVS falls back to Cluster; an outside client then gets replies from another address
        if ends and not inside:
            return Outcome.TIMED_OUT, ()
    if ends:
        return Outcome.REACHED, ends
    return (Outcome.TIMED_OUT if local and chosen.somewhere else Outcome.REFUSED), ()


def keeps_source(
    mode: ProxyMode, service: ServiceInfo, asker: ProbeHost, near: ProbeHost, server: ProbeHost, way: Way
) -> bool:
    """Whether the server sees the source itself, and not the node that translates, which is `near`."""
    if mode is ProxyMode.USERSPACE:
        return False
    if way in (Way.CLUSTER_IP, Way.NAME):
        # A pod's connection to itself through a Service is masqueraded: a kernel drops its own address as a source.
        return asker.role == "pod" and asker.name != server.name
    # What a node passes to itself leaves by no interface, so nothing masquerades it.
    return service.external_local or server == near


def _admitted(service: ServiceInfo, asker: ProbeHost) -> bool:
    """Whether the load balancer's source ranges (none: all sources) contain the source."""
    ranges = [IPv4Network(net, strict=False) for net in service.source_ranges]
    return not ranges or any(asker.address in net for net in ranges)
