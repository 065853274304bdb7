"""Checks of a lab's Services and EndpointSlices, and of probes, with the API server's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.admission import validate_services
from nslab.admission.validate_pods import pod_specs
from nslab.api import service_document
from nslab.api.addresses import address_fault, valid_address
from nslab.api.document import EXISTING
from nslab.api.sentences import (
    SUBDOMAIN,
    duplicate,
    forbidden,
    invalid,
    of_object,
    required,
    unsupported,
)
from nslab.errors import FieldError
from nslab.lab.addons import API_SERVICE
from nslab.lab.allocate import HIGHEST, KUBERNETES, LOWEST, unset_fields
from nslab.lab.mirroring import is_endpoints
from nslab.lab.resources import resource_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.api.document import Document
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents


ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def services(found: Documents) -> Iterator[FieldError]:
    """Each Service is valid for kube-proxy."""
    yield from unique_names(found.services)
    for service in found.services:
        for error in validate_services.errors(service):
            yield of_object(service, error)


def admitted(found: Documents) -> Iterator[FieldError]:
    """The API server admits each Service."""
    for service in found.services:
        for error in validate_services.admission(service.spec):
            yield of_object(service, error)


def slices(found: Documents) -> Iterator[FieldError]:
    """Each EndpointSlice is valid, and the Endpoints that others mirror."""
    yield from unique_names(found.slices)
    for one in found.slices:
        for error in () if one.made else _slice(one):
            yield of_object(one, error)
    for one in found.others:
        for error in _subsets(one) if is_endpoints(one) else ():
            yield of_object(one, error)


def _subsets(one: Document) -> Iterator[FieldError]:
    """The subsets of Endpoints (validateEndpointSubsets)."""
    for index, subset in enumerate(one.value.get("subsets", ())):
        path: FieldPath = ("subsets", index)
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield FieldError(path, required("must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(field, ())):
                yield from validate_services.outside(address.get("ip", ""), (*path, field, place, "ip"))
        ports = subset.get("ports", ())
        for place, port in enumerate(ports):
            at = (*path, "ports", place)
            if len(ports) > 1 and not port.get("name"):
                yield FieldError((*at, "name"), required())
            yield from validate_services.port_name(port.get("name", ""), at)
            yield from validate_services.number_and_protocol(port.get("port", 0), port["protocol"], at)


def _slice(one: Document) -> Iterator[FieldError]:
    kind = one.value.get("addressType", "IPv4")
    if kind not in ADDRESS_TYPES:
        yield FieldError(("addressType",), unsupported(kind, ADDRESS_TYPES))
    yield from validate_services.name_errors(one.name, validate_services.SUBDOMAIN_FORM, SUBDOMAIN, 253)
    for index, end in enumerate(one.value.get("endpoints", ())):
        path: FieldPath = ("endpoints", index)
        if not (addresses := end.get("addresses", ())):
            yield FieldError((*path, "addresses"), required("must contain at least 1 address"))
        for place, word in enumerate(addresses):
            yield from _slice_address(word, kind, (*path, "addresses", place))
    names: set[str] = set()
    for index, port in enumerate(one.value.get("ports", ())):
        path, name = ("ports", index), port.get("name", "")
        yield from validate_services.port_name(name, path)
        if name in names:
            yield FieldError((*path, "name"), duplicate(name))
        names.add(name)
        # Without a number it means all ports, which kube-proxy passes over.
        yield from validate_services.number_and_protocol(port.get("port", 1), port["protocol"], path)


def _slice_address(word: str, kind: str, path: FieldPath) -> Iterator[FieldError]:
    """An address of the slice's own kind."""
    if kind == "FQDN":
        if not validate_services.SUBDOMAIN_FORM.fullmatch(word):
            yield FieldError(path, invalid(word, SUBDOMAIN))
    elif kind in ("IPv4", "IPv6") and validate_services.is_ipv6(word) == (kind == "IPv4"):
        yield FieldError(path, invalid(word, f"must be an {kind} address"))
    else:
        yield from validate_services.outside(word, path)


def probes(found: Documents) -> Iterator[FieldError]:
    """Each probe of a container has exactly one handler."""
    for one, path, spec in pod_specs(found):
        yield from (of_object(one, error) for error in _probes(path, spec))


def _probes(inside: FieldPath, spec: dict[str, Any]) -> Iterator[FieldError]:
    for index, container in enumerate(spec.get("containers", ())):
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            path: FieldPath = (*inside, "containers", index, name)
            if (check := container.get(name)) is None:
                continue
            kinds = [kind for kind in HANDLERS if kind in check]
            if not kinds:
                yield FieldError(path, required("must specify a handler type"))
            for kind in kinds[1:]:
                yield FieldError((*path, kind), forbidden("may not specify more than 1 handler type"))
            if name != "readinessProbe" and (number := check.get("successThreshold") or 1) != 1:
                yield FieldError((*path, "successThreshold"), invalid(number, "must be 1"))


def allocation(found: Documents) -> Iterator[FieldError]:
    """Requested addresses and ports are in their ranges and free. Existing Services take precedence."""
    network, dns = found.lab.service_network, str(found.lab.dns_address or "")
    ends = network[0], network[-1]
    kubernetes = network[KUBERNETES] if network.num_addresses > KUBERNETES else None
    ordered = sorted(found.services, key=lambda service: service.path[0])
    addresses: dict[str, FieldPath] = {}
    waiting = []
    for service in ordered:
        asked = service_document.cluster_ip(service.spec)
        if service.spec["type"] == "ExternalName" or asked == "None" or (asked and address_fault(asked)):
            continue
        if not asked:
            waiting.append(service)
            continue
        place: FieldPath = (*service.path, "spec", "clusterIP")
        ip = valid_address(asked)
        why = ""
        if ip not in network or ip in ends:
            why = f"the provided IP ({ip}) is not in the valid range. The range of valid IPs is {network}"
        elif ip == kubernetes and (service.namespace, service.name) != API_SERVICE and service.path[0] != EXISTING:
            why = "provided IP is already allocated (to the Service kubernetes)"
        elif addresses.setdefault(asked, place) != place:
            why = "provided IP is already allocated"
        if why:
            text = invalid([asked], f"failed to allocate IP {ip}: {why}")
            first = addresses.get(asked, ())
            error = FieldError(
                ("spec", "clusterIPs"), text, at=("spec", "clusterIP"), first=first if first != place else ()
            )
            yield of_object(service, error)
    free = network.num_addresses - 2 - len(addresses) - (bool(dns) and dns not in addresses)
    for service in waiting[max(free, 0) :]:
        text = "Internal error occurred: failed to allocate a serviceIP: range is full"
        yield FieldError((*service.path, "spec"), f"Error from server (InternalError): {text}")
    yield from _node_ports(ordered)


def _node_ports(ordered: list[Document]) -> Iterator[FieldError]:
    """A node port belongs to one Service, which may use it once per protocol."""
    owners: dict[int, tuple[Document, FieldPath]] = {}
    needed = 0
    for service in ordered:
        spec = service.spec
        asked: list[tuple[FieldPath, int]] = []
        if spec["type"] in ("NodePort", "LoadBalancer"):
            ports = enumerate(spec.get("ports", ()))
            asked += ((("spec", "ports", i, "nodePort"), port.get("nodePort", 0)) for i, port in ports)
        if service_document.needs_health_check(spec):
            asked.append((("spec", "healthCheckNodePort"), spec.get("healthCheckNodePort", 0)))
        for path, number in asked:
            place: FieldPath = (*service.path, *path)
            why = ""
            first: FieldPath = ()
            if number and not LOWEST <= number <= HIGHEST:
                valid = f"The range of valid ports is {LOWEST}-{HIGHEST}"
                why = f"provided port is not in the valid range. {valid}"
            elif number:
                owner, there = owners.setdefault(number, (service, place))
                health = "healthCheckNodePort" in (path[-1], there[-1])
                if owner is not service or (health and there != place):
                    why, first = "provided port is already allocated", there
            if why and path[-1] == "healthCheckNodePort":
                text = f"failed to allocate requested HealthCheck NodePort {number}: {why}"
                text = f"Error from server (InternalError): Internal error occurred: {text}"
                yield FieldError(place, text, first=first)
            elif why:
                yield of_object(service, FieldError(path, invalid(number, why), first=first))
        opened = unset_fields(spec, ())
        needed += len({p.get("port") for i, p in enumerate(spec.get("ports", ())) if f"ports[{i}].nodePort" in opened})
        needed += "healthCheckNodePort" in opened
        if needed and needed + len(owners) > HIGHEST - LOWEST + 1:
            text = "Internal error occurred: failed to allocate a nodePort: range is full"
            yield FieldError((*service.path, "spec", "ports"), f"Error from server (InternalError): {text}")
            return


def others(found: Documents) -> Iterator[FieldError]:
    """Names of kept objects are unique, across all versions of their kind."""
    kinds: dict[str, list[Document]] = {}
    for one in found.others:
        kinds.setdefault(resource_of(one), []).append(one)
    for objects in kinds.values():
        yield from unique_names(objects)


def unique_names(objects: Sequence[Document]) -> Iterator[FieldError]:
    """Names are unique among objects of one kind and namespace."""
    names: dict[tuple[str, str], Document] = {}
    for one in objects:
        first = names.setdefault((one.namespace, one.name), one)
        if first is not one and first.path != one.path and one.name:
            path: FieldPath = ("metadata", "name")
            yield of_object(one, FieldError(path, duplicate(one.name), first=(*first.path, *path)))
