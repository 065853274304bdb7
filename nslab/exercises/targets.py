"""The target of a question's `to`: a host of the lab, a Service or an address, with or without a port."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.api.words import shown
from nslab.dataclass import dataclass
from nslab.exercises.types import By
from nslab.probes.pairs import places

if TYPE_CHECKING:
    from nslab.api.service_types import Service
    from nslab.lab.types import Lab

SERVICE = "svc/"


@dataclass(frozen=True, slots=True)
class GoalTarget:
    """An address, perhaps a port, and the pod, node or client that has the address ("" if none has)."""

    address: IPv4Address
    port: int = 0
    host: str = ""


def target(lab: Lab, text: str) -> GoalTarget:
    """The target of a `to` in a valid check file. The lab's pods have addresses."""
    name, port = _split(text)
    if service := _service(lab, name):
        assert service.cluster_ip
        return GoalTarget(service.cluster_ip, port or service.ports[0].port)
    address = next((place.address for place in places(lab) if place.name == name), None) or IPv4Address(name)
    return GoalTarget(address, port, next((place.name for place in places(lab) if place.address == address), ""))


def fault(lab: Lab, text: str, by: By) -> tuple[str, str, tuple[str, ...]] | None:
    """The error in a `to`: a sentence, the wrong word, and the known ones; None if it is valid."""
    name, port = _split(text)
    if ":" in text and not port:
        return f"{shown(text)} has no port from 1 to 65535 after its colon", "", ()
    if name.startswith(SERVICE):
        known = tuple(f"{SERVICE}{_name(service)}" for service in lab.services if service.cluster_ip)
        service = _service(lab, name)
        if service is None:
            return f"the lab has no Service {shown(name.removeprefix(SERVICE))} with an address", name, known
        if by is By.ICMP:
            return "a Service's address does not answer echoes; ask by tcp or http", "", ()
        numbers = [one.port for one in service.ports]
        if port not in numbers and (port or len(numbers) != 1):
            return f"{shown(name)} has the ports {', '.join(map(str, numbers))}; say which", "", ()
        return None
    hosts = tuple(place.name for place in places(lab))
    if name not in hosts and not _address(name):
        return f"the lab has no host {shown(name)}", name, hosts
    if by is By.ICMP and port:
        return "an echo has no port; leave it out, or ask by tcp or http", "", ()
    if by is not By.ICMP and not port:
        return f"{by} needs a port; write {shown(name)}:PORT", "", ()
    return None


def _address(name: str) -> IPv4Address | None:
    try:
        return IPv4Address(name)
    except ValueError:
        return None


def _split(text: str) -> tuple[str, int]:
    """Name and port; 0 without a valid port."""
    name, _, port = text.partition(":")
    return name, int(port) if port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536 else 0


def _service(lab: Lab, name: str) -> Service | None:
    wanted = name.removeprefix(SERVICE)
    found = (service for service in lab.services if _name(service) == wanted and service.cluster_ip)
    return next(found, None) if name.startswith(SERVICE) else None


def _name(service: Service) -> str:
    return service.name if service.namespace == "default" else f"{service.namespace}/{service.name}"
