"""FROM and TO of a trace: hosts, Services, names and addresses of a lab (pure)."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

from nslab.api.pod_types import Protocol
from nslab.api.words import did_you_mean, shown, some
from nslab.compiler.addresses import address_of, host_used
from nslab.dataclass import dataclass, replace
from nslab.errors import UsageError
from nslab.lab.dns import DOMAIN
from nslab.objects.names import namesake, pod_host
from nslab.probes.evidence import DNS_PORT
from nslab.probes.pairs import places
from nslab.probes.probe import Kind

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod
    from nslab.api.service_types import Service
    from nslab.lab.types import Lab

IPV6_LATER = "is an IPv6 address: traces of IPv6 come later, with dual stack"
_PORTS = range(1, 1 << 16)
_LEAST = {Kind.UDP: 49, Kind.ICMP: 44}
"""The bytes of the IP packet that carries a sign by which it is followed."""
_NAME = re.compile(r"(?=.*[a-z])(?=.*\.)(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
"""A name with a dot, for DNS."""


@dataclass(frozen=True, slots=True)
class TraceTarget:
    """Where a packet shall go. `name`: to be asked of DNS if `address` is None; `host`: whose address it is, if known.

    `service`: "" or NAMESPACE/NAME. `size`: of the IP packet in bytes; 0: as small as one of its kind is.
    """

    words: str
    kind: Kind
    address: IPv4Address | None
    port: int = 0
    host: str = ""
    service: str = ""
    name: str = ""
    size: int = 0


def sized(found: TraceTarget, size: int) -> TraceTarget:
    """The target, for a packet of `size` bytes; 0: of what size it has. UsageError if none of its kind has that."""
    if not size:
        return found
    least = _LEAST.get(found.kind)
    if least is None:
        raise UsageError("--size is for --udp and --icmp: what opens a TCP connection has no data")
    if found.kind is Kind.UDP and found.port == DNS_PORT:
        raise UsageError("--size is not for port 53: a question to DNS is as long as the name in it")
    if not least <= size < 1 << 16:
        raise UsageError(f"--size {size}: from {least} to 65535 bytes, with the IP header")
    return replace(found, size=size)


def source(lab: Lab, word: str) -> str:
    """The host from which a packet is sent. UsageError if there is none of that name or address."""
    if word.count(":") > 1:
        raise UsageError(f"{shown(word)} {IPV6_LATER}")
    hosts = _hosts(lab)
    if word in hosts:
        return host_used(lab, word)
    if (name := _host_of(lab, word)) and name in hosts:
        return host_used(lab, name)
    raise UsageError(f"{lab.name} has no host {shown(word)}{way_on(word, [*hosts])}")


def target(lab: Lab, word: str, kind: Kind | None = None) -> TraceTarget:
    """What `word` means: HOST, SERVICE, ADDRESS or a name for DNS, each with or without :PORT.

    Without a port, it is the first of the Service or of the pod's containers. `kind`: None for the port's own protocol.
    """
    name, port = split(word)
    if service := _service(lab, name):
        return _of_service(service, word, port, kind)
    if address := _address(name):
        host = next((place.name for place in places(lab) if place.address == address), "")
        return _checked(TraceTarget(word, kind or Kind.TCP, address, port, host, _service_at(lab, address)), lab)
    hosts = _hosts(lab)
    if host := name if name in hosts else _host_of(lab, name):
        pod = next((pod for pod in lab.pods if pod_host(pod.namespace, pod.name) == host), None)
        port, kind = _of_pod(pod, port, kind) if pod else (port, kind)
        return _checked(TraceTarget(word, kind or Kind.TCP, hosts[host], port, host_used(lab, host)), lab)
    if _NAME.fullmatch(name) and lab.dns_address:
        return TraceTarget(word, kind or Kind.TCP, None, port, name=name)
    known = [*hosts, *(pod_host(service.namespace, service.name) for service in lab.services)]
    raise UsageError(f"{lab.name} has no host and no Service {shown(name)}{way_on(name, known)}")


def resolved(lab: Lab, found: TraceTarget, address: IPv4Address, kind: Kind | None) -> TraceTarget:
    """The target, now that DNS has given an address: a Service's gives the port, too."""
    words = f"{address}:{found.port}" if found.port else f"{address}"
    if service := next((one for one in lab.services if one.cluster_ip == address), None):
        of_service = _of_service(service, words, found.port, kind)
        return replace(of_service, words=found.words, name=found.name, size=found.size)
    return replace(target(lab, words, kind), words=found.words, name=found.name, size=found.size)


def named_service(lab: Lab, found: TraceTarget, kind: Kind | None) -> TraceTarget:
    """The target of a name that DNS would answer with a Service's address; UsageError for any other name."""
    if found.address:
        return found
    below = f".svc.{DOMAIN}"
    for service in lab.services:
        full = f"{service.name}.{service.namespace}"
        if found.name.rstrip(".") in (full, f"{full}.svc", f"{full}{below}") and service.cluster_ip:
            return resolved(lab, found, service.cluster_ip, kind)
    raise UsageError(f"{shown(found.name)} is no Service of {lab.name}; without sending a packet nobody asks DNS")


def names_to_ask(lab: Lab, host: str, name: str) -> list[str]:
    """The names for which `host` asks DNS when it means `name`: with those of a pod's search list first (ndots 5)."""
    pod = next((pod for pod in lab.pods if pod_host(pod.namespace, pod.name) == host), None)
    if name.endswith(".") or not pod:
        return [name.rstrip(".")]
    below = [f"{pod.namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
    searched = [f"{name}.{domain}" for domain in below]
    return [*searched, name] if name.count(".") < 5 else [name, *searched]


def way_on(word: str, known: list[str]) -> str:
    """The end of an error message about a name that the lab has not."""
    meant = namesake(word, known)
    return f"; did you mean {meant}?" if meant else did_you_mean(word, known) or f"; it has {some(known)}"


def split(word: str) -> tuple[str, int]:
    """NAME and PORT of `NAME:PORT`; 0 without one. UsageError if it is no port, or an IPv6 address."""
    if word.count(":") > 1:
        raise UsageError(f"{shown(word)} {IPV6_LATER}")
    name, colon, port = word.rpartition(":")
    if not colon:
        return word, 0
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) in _PORTS):
        raise UsageError(f"{shown(port)} is not a port: say TO:PORT, with a number from 1 to 65535")
    return name, int(port)


def _address(name: str) -> IPv4Address | None:
    try:
        return IPv4Address(name)
    except AddressValueError:
        return None


def _hosts(lab: Lab) -> dict[str, IPv4Address]:
    """The address of each host, by its name."""
    within = (pod for pod in lab.pods if pod.host_network and not (pod.deletion or pod.finished))
    named = {pod_host(pod.namespace, pod.name): address_of(pod) for pod in within}
    return named | {place.name: place.address for place in places(lab)}


def _host_of(lab: Lab, word: str) -> str:
    """A host by NAMESPACE/POD, or by its address; "" if there is none."""
    namespace, slash, pod = word.partition("/")
    if slash:
        return next(
            (pod_host(one.namespace, one.name) for one in lab.pods if (one.namespace, one.name) == (namespace, pod)), ""
        )
    address = _address(word)
    return next((place.name for place in places(lab) if address and place.address == address), "")


def _service(lab: Lab, name: str) -> Service | None:
    """A Service by NAME, NAMESPACE/NAME or svc/NAME; a host of the same name comes first."""
    if name in _hosts(lab):
        return None
    namespace, _, plain = name.rpartition("/")
    namespace = "" if namespace in ("svc", "service", "services") else namespace
    found = [one for one in lab.services if one.name == plain and namespace in ("", one.namespace)]
    return next((one for one in found if one.namespace == "default"), found[0] if found else None)


def _service_at(lab: Lab, address: IPv4Address) -> str:
    return next((f"{one.namespace}/{one.name}" for one in lab.services if one.cluster_ip == address), "")


def _of_service(service: Service, word: str, port: int, kind: Kind | None) -> TraceTarget:
    full = f"{service.namespace}/{service.name}"
    if not service.cluster_ip:
        raise UsageError(f"Service {full} has no ClusterIP: trace to one of its pods, or to its name with a dot")
    wanted = Protocol.UDP if kind is Kind.UDP else Protocol.TCP if kind is Kind.TCP else None
    ports = [one for one in service.ports if one.port == port or not port]
    ports = [one for one in ports if wanted in (None, one.protocol)]
    if port or kind is Kind.ICMP or not ports:
        chosen = kind or (Kind.UDP if ports and ports[0].protocol is Protocol.UDP else Kind.TCP)
        number = port or (0 if kind is Kind.ICMP else service.ports[0].port)
    else:
        chosen, number = (Kind.UDP if ports[0].protocol is Protocol.UDP else Kind.TCP), ports[0].port
    return TraceTarget(word, chosen, service.cluster_ip, number, service=full)


def _of_pod(pod: Pod, port: int, kind: Kind | None) -> tuple[int, Kind | None]:
    if port or kind is Kind.ICMP:
        return port, kind
    wanted = Protocol.UDP if kind is Kind.UDP else Protocol.TCP
    listed = [one.port for container in pod.containers for one in container.ports if one.protocol is wanted]
    return (listed[0] if listed else 0), kind


def _checked(found: TraceTarget, lab: Lab) -> TraceTarget:
    if found.kind is not Kind.ICMP and not found.port:
        raise UsageError(f"say to which port: nslab trace {lab.name} FROM {found.words}:PORT, or --icmp for an echo")
    return found
