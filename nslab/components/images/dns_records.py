"""The cluster's DNS records, from its Services (pure). Names follow Kubernetes' DNS specification (1.1.0).

    SERVICE.NAMESPACE.svc             A: its cluster address; headless: its endpoints'. CNAME: an ExternalName
    HOST.SERVICE.NAMESPACE.svc        A: one endpoint of a headless Service, by its hostname or as 10-0-0-1
    _PORT._PROTOCOL.SERVICE.….svc     SRV: a named port, with its number and host
    10-0-0-1.NAMESPACE.pod            A: that address, even if no pod has it (kube-dns' insecure mode)
    1.0.0.10.in-addr.arpa             PTR: the Service, or the endpoint of a headless one

Services stay JSON (nslab.proxy.model.to_json): of 10,000 of them few are ever queried.
"""

from __future__ import annotations

import struct

from nslab.wire import dns as dns_wire
from nslab.wire.dns import ANY, CNAME, PTR, SOA, SRV, TXT, A, DnsResponse, ResourceRecord, labels, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from nslab.wire.dns import Name

    Service = dict[str, Any]
    Data = dict[int, list[bytes]]

DOMAIN = "cluster.local"
TTL = 30
"""Seconds, as in kube-dns; also of negative answers."""
VERSION = b"1.1.0"
_CHAIN = 8  # ExternalNames that lead to ExternalNames
_REVERSE = ("in-addr", "arpa")
_ZONES: tuple[Name, ...] = (_REVERSE, ("ip6", "arpa"), ())


class Records:
    """A snapshot of the Services by namespace and name, with the names of their addresses."""

    def __init__(self, document: dict[str, Any], serial: int = 0) -> None:
        self.domain = labels(document.get("domain", DOMAIN))
        self._serial = serial & 0xFFFFFFFF
        services: list[Service] = document["services"]
        self._services = {(service["namespace"], service["name"]): service for service in services}
        self._namespaces = {service["namespace"] for service in services}
        self._hosts = {key: _hosts(service) for key, service in self._services.items() if _headless(service)}
        self._pointers: dict[Name, list[Name]] = {}
        for service in services:
            for address, name in self._addresses(service):
                self._pointers.setdefault(_reversed(address), []).append(name)
        # Names between a zone and a name in it exist, too: an empty answer instead of NXDOMAIN (RFC 8020).
        self._between = {name[index:] for name in self._pointers for index in range(1, 4)}

    def _addresses(self, service: Service) -> Iterator[tuple[str, Name]]:
        name = self._name_of(service)
        if _headless(service):
            yield from ((ip, (host, *name)) for host, ips in self._below(service).items() for ip in ips)
        elif service.get("cluster_ip"):
            yield service["cluster_ip"], name

    def _below(self, service: Service) -> dict[str, list[str]]:
        """The addresses of a headless Service by host name below it; empty for any other."""
        return self._hosts.get((service["namespace"], service["name"]), {})

    def _name_of(self, service: Service) -> Name:
        return (service["name"], service["namespace"], "svc", *self.domain)

    def answer(self, name: Name, kind: int) -> DnsResponse:
        """The records of a type at a name. Follows a CNAME as long as it stays in the cluster."""
        records: list[ResourceRecord] = []
        for _ in range(_CHAIN):
            data = self._at(name)
            if data is None:
                return DnsResponse(dns_wire.NXDOMAIN, records, [self._authority(name)])
            alias = data.get(CNAME)
            if not alias or kind in (CNAME, ANY):
                break
            records.append(ResourceRecord(name, CNAME, TTL, alias[0]))
            name = _target(alias[0])
            if not self._inside(name):
                return DnsResponse(dns_wire.NOERROR, records)  # dnsmasq asks its upstream server for the rest
        else:
            return DnsResponse(dns_wire.SERVFAIL)
        fitting = [(one, value) for one, values in data.items() if kind in (one, ANY) for value in values]
        found = [ResourceRecord(name, one, TTL, value) for one, value in fitting]
        more = [extra for record in found if record.kind == SRV for extra in self._located(record)]
        return DnsResponse(dns_wire.NOERROR, records + found, [] if found else [self._authority(name)], more)

    def _inside(self, name: Name) -> bool:
        return name[-len(self.domain) :] == self.domain

    def _at(self, name: Name) -> Data | None:
        """The data at a name by type; empty for a name with only others below it; None if it does not exist."""
        if self._inside(name):
            return self._in_cluster(name[: -len(self.domain)])
        if name in self._pointers:
            return {PTR: [wire(target) for target in self._pointers[name]]}
        zones = name in self._between or any(zone[-len(name) :] == name for zone in (*_ZONES, self.domain))
        return {} if zones or not name else None

    def _in_cluster(self, name: Name) -> Data | None:
        """Like `_at`, for a name without the cluster's domain."""
        match name:
            case ():
                return {SOA: [self._soa()]}
            case ("dns-version",):
                return {TXT: [bytes((len(VERSION),)) + VERSION]}
            case ("svc",) | ("pod",) | (_, "pod"):
                return {}
            case (host, _, "pod"):
                return _address(host)
            case (namespace, "svc"):
                return {} if namespace in self._namespaces else None
            case (*hosts, service, namespace, "svc"):
                found = self._services.get((namespace, service))
                return self._of_service(found, tuple(hosts)) if found else None
        return None

    def _of_service(self, service: Service, name: Name) -> Data | None:
        """The data at a Service, or at a name below it."""
        match name:
            case ():
                if service.get("type") == "ExternalName":
                    return {CNAME: [wire(labels(service["external_name"]))]}
                below = (ip for ips in self._below(service).values() for ip in ips)
                # Two hostnames may have one address.
                ips = dict.fromkeys(below) if _headless(service) else (service["cluster_ip"],)
                return {A: [_packed(ip) for ip in ips]}
            case (port, protocol) if port.startswith("_"):
                return self._ports(service, port[1:], protocol)
            case (protocol,) if protocol in _protocols(service):
                return {}
            case (host,) if host in self._below(service):
                return {A: [_packed(ip) for ip in self._below(service)[host]]}
        return None

    def _ports(self, service: Service, wanted: str, protocol: str) -> Data | None:
        """The SRV data of a named port: of the Service, or of each endpoint of a headless one."""
        for port in service.get("ports", ()):
            if wanted and port.get("name") == wanted and f"_{_protocol(port)}" == protocol:
                name = self._name_of(service)
                places = {(name, port["port"])}
                if _headless(service):
                    places = {((_host(end), *name), end["port"]) for end in _ready(port)}
                weight = max(1, 100 // max(1, len(places)))
                return {SRV: [struct.pack("!3H", 0, weight, at) + wire(host) for host, at in sorted(places)]}
        return None

    def _located(self, record: ResourceRecord) -> Iterator[ResourceRecord]:
        target = _target(record.data[6:])
        yield from (ResourceRecord(target, A, TTL, address) for address in (self._at(target) or {}).get(A, ()))

    def _authority(self, name: Name) -> ResourceRecord:
        """The SOA record of a name's zone, for a negative answer."""
        zone = next(zone for zone in (self.domain, *_ZONES) if not zone or name[-len(zone) :] == zone)
        return ResourceRecord(zone, SOA, TTL, self._soa())

    def _soa(self) -> bytes:
        names = wire(("ns", "dns", *self.domain)) + wire(("hostmaster", *self.domain))
        return names + struct.pack("!5I", self._serial, 7200, 1800, 86400, TTL)


def _headless(service: Service) -> bool:
    return not service.get("cluster_ip") and service.get("type") != "ExternalName"


def _ready(port: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The endpoints of a port that DNS publishes."""
    yield from (end for end in port.get("endpoints", ()) if end.get("ready", True))


def _host(end: dict[str, Any]) -> str:
    return str(end.get("hostname") or end["ip"].replace(".", "-"))


def _hosts(service: Service) -> dict[str, list[str]]:
    """The endpoints' addresses of a headless Service by host name below it; several may share one."""
    found: dict[str, dict[str, None]] = {}
    for port in service.get("ports", ()):
        for end in _ready(port):
            found.setdefault(_host(end), {})[end["ip"]] = None
    return {host: list(ips) for host, ips in found.items()}


def _protocol(port: dict[str, Any]) -> str:
    return str(port.get("protocol", "TCP")).lower()


def _protocols(service: Service) -> set[str]:
    return {f"_{_protocol(port)}" for port in service.get("ports", ()) if port.get("name")}


def _address(dashed: str) -> Data | None:
    """The address in a pod's DNS name; None if it is malformed."""
    parts = dashed.split("-")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        return None
    return {A: [bytes(map(int, parts))]}


def _packed(ip: str) -> bytes:
    return bytes(map(int, ip.split(".")))


def _reversed(ip: str) -> Name:
    return (*reversed(ip.split(".")), *_REVERSE)


def _target(data: bytes) -> Name:
    """Decode the name in a record's data (the inverse of `wire`)."""
    found, at = [], 0
    while size := data[at]:
        found.append(data[at + 1 : at + 1 + size].decode("latin-1"))
        at += 1 + size
    return tuple(found)
