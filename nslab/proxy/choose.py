"""The usable endpoints of a port, independent of the mode (kube-proxy's topology.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo


class UsableEndpoints(NamedTuple):
    """`cluster`: for policy Cluster. `local`: for policy Local, on this node only. `reachable`: the union, in order.

    `somewhere`: whether there is a usable endpoint on any node.
    """

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    reachable: tuple[Endpoint, ...]
    somewhere: bool


def choose(service: ServiceInfo, port: Port, proxy: Proxy) -> UsableEndpoints:
    """The endpoints of one port, as seen from the proxy's node.

    The ready ones; if there are none, the serving and terminating ones: separately for Cluster and Local. Hints count
    for Cluster only, those for nodes before those for zones, and only if every ready endpoint has one and at least one
    endpoint has a hint for this node, or its zone.
    """
    ready = [end for end in port.endpoints if end.ready]
    fallback = [end for end in port.endpoints if end.serving and end.terminating and not end.ready]
    external = externally_accessible(service, port)
    # With externalTrafficPolicy Local, pods and the node itself still reach all endpoints by external addresses.
    cluster = tuple(_near(ready, proxy) or fallback) if external or not service.internal_local else ()
    if not (service.internal_local or (external and service.external_local)):
        return UsableEndpoints(cluster, (), cluster, bool(cluster))
    here = [end for end in ready if end.node == proxy.node] or [end for end in fallback if end.node == proxy.node]
    return UsableEndpoints(cluster, tuple(here), tuple(dict.fromkeys((*cluster, *here))), bool(ready or fallback))


def externally_accessible(service: ServiceInfo, port: Port) -> bool:
    """Whether it has a node port or an address other than the cluster IP."""
    return bool(port.node_port or service.external_ips or service.load_balancer_ips)


def _near(ready: Sequence[Endpoint], proxy: Proxy) -> Sequence[Endpoint]:
    if all(end.nodes for end in ready) and (same_node := [end for end in ready if proxy.node in end.nodes]):
        return same_node
    if proxy.zone and all(end.zones for end in ready):
        return [end for end in ready if proxy.zone in end.zones] or ready
    return ready
