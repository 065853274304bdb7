"""kube-proxy's input: Services with their endpoints, and the settings of its node.

Addresses are strings: no code calculates with them, and reading 10,000 Services stays fast. All of `nslab.proxy`
imports only the standard library, because the node's kube-proxy process has nothing else.
"""

from __future__ import annotations

from typing import Any

from nslab.dataclass import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a port of a Service. `pod`: NAMESPACE/NAME if it is a pod of the lab, else "".

    `zones`, `nodes`: its hints. `other_proxy`: as in a Service.
    """

    ip: str
    port: int
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    pod: str = ""
    hostname: str = ""
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    other_proxy: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service, with its endpoints. `protocol` is TCP, UDP or SCTP."""

    name: str
    port: int
    protocol: str = "TCP"
    node_port: int = 0
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A Service with the fields that kube-proxy and kube-dns use.

    `cluster_ip` is "" for a headless one and for an ExternalName. `affinity`: seconds of ClientIP affinity, 0 for none.
    `external_local`, `internal_local`: the traffic policy is Local. `other_proxy`: a label says that it is another
    proxy's business; no kube-proxy sees it (`visible`), but DNS names it. `node_zones` (NODE/ZONE), `zone_shares` (the
    zone of each node that counts): for the hints of topology-mode Auto; () without.
    """

    namespace: str
    name: str
    cluster_ip: str = ""
    ports: tuple[Port, ...] = ()
    type: str = "ClusterIP"
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity: int = 0
    external_local: bool = False
    internal_local: bool = False
    health_check_node_port: int = 0
    external_name: str = ""
    publish_not_ready: bool = False
    other_proxy: bool = False
    node_zones: tuple[str, ...] = ()
    zone_shares: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """The node of a kube-proxy, and its settings (kube-proxy's flags of the same names).

    `cluster_cidr`: the pod network; "" means that kube-proxy cannot detect local traffic. `iptables`: the variant of
    this machine. `zone`: the node's topology zone. `large`: more than 1,000 endpoints in total, so endpoints' rules
    have no comments. `random_fully`: iptables is 1.6.2 or newer.
    `liberal`: nf_conntrack_tcp_be_liberal is set, so no INVALID packet is dropped. `bind`: the address on which
    userspace mode's proxy listens; "" for all. `nft_narrows`: see nslab.ruletext.nft.
    """

    node: str
    addresses: tuple[str, ...]
    mode: str = "iptables"
    cluster_cidr: str = ""
    service_cidr: str = ""
    iptables: str = "iptables"
    scheduler: str = "rr"
    masquerade_all: bool = False
    localhost_node_ports: bool = True
    node_port_addresses: tuple[str, ...] = ()
    zone: str = ""
    large: bool = False
    random_fully: bool = True
    liberal: bool = False
    strict_arp: bool = False
    bind: str = ""
    nft_narrows: bool = False


def visible(service: ServiceInfo) -> ServiceInfo | None:
    """A Service as a kube-proxy sees it; None if it does not: its watches leave out what is for another proxy."""
    if service.other_proxy:
        return None
    if not any(end.other_proxy for port in service.ports for end in port.endpoints):
        return service
    ports = (
        replace(port, endpoints=tuple(end for end in port.endpoints if not end.other_proxy)) for port in service.ports
    )
    return replace(service, ports=tuple(ports))


def to_json(obj: ServiceInfo | Proxy) -> dict[str, Any]:
    """The object as JSON without default values, as the API server and kube-proxy exchange it."""
    return _without_defaults(obj)


def service_from_json(document: dict[str, Any]) -> ServiceInfo:
    """The Service of a document by `to_json`."""
    ports = tuple(
        Port(**{**port, "endpoints": tuple(Endpoint(**_tuples(end)) for end in port.get("endpoints", ()))})
        for port in document.get("ports", ())
    )
    return ServiceInfo(**{**_tuples(document), "ports": ports})


def proxy_from_json(document: dict[str, Any]) -> Proxy:
    """The settings of a document by `to_json`."""
    return Proxy(**_tuples(document))


def _without_defaults(obj: Any) -> dict[str, Any]:
    return {field.name: _plain(value) for field in fields(obj) if (value := getattr(obj, field.name)) != field.default}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return _without_defaults(value) if isinstance(value, Endpoint | Port) else value


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
