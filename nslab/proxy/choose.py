"""Which endpoints a packet may be sent to: the same for every mode (kube-proxy's topology.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.proxy.model import Endpoint, Port, Proxy, Service


class Choice(NamedTuple):
    """`cluster`: for policy Cluster. `local`: for policy Local, on this node alone. `reachable`: either, in order.

    `somewhere`: whether there is a usable endpoint on any node.
    """

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    reachable: tuple[Endpoint, ...]
    somewhere: bool


def choose(service: Service, port: Port, proxy: Proxy) -> Choice:
    """The endpoints of one port, as seen from the proxy's node.

    Ready ones; if no ready ones exist, those that still serve while they terminate. Hints of zones count only if every
    ready endpoint has one, the node is in a zone, and some endpoint is meant for that zone.
    """
    uses_cluster = not service.internal_local or (_external(service, port) and not service.external_local)
    uses_local = service.internal_local or (_external(service, port) and service.external_local)
    ready = [end for end in port.endpoints if end.ready]
    fallback = [end for end in port.endpoints if end.serving and end.terminating]
    cluster = (_in_zone(ready, proxy.zone) or fallback) if uses_cluster else []
    here = [end for end in ready if end.node == proxy.node] or [end for end in fallback if end.node == proxy.node]
    local = here if uses_local else []
    seen = dict.fromkeys((*cluster, *local))
    return Choice(tuple(cluster), tuple(local), tuple(seen), bool(ready or fallback))


def _external(service: Service, port: Port) -> bool:
    return bool(port.node_port or service.external_ips or service.load_balancer_ips)


def _in_zone(ready: Sequence[Endpoint], zone: str) -> Sequence[Endpoint]:
    meant = [end for end in ready if zone in end.zones]
    return meant if zone and meant and all(end.zones for end in ready) else ready
