"""What is wrong with the Services, EndpointSlices and Deployments of a lab together, in the API server's words."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.lab import replicas, validate_services
from nslab.lab.allocate import HIGHEST, LOWEST, open_fields
from nslab.lab.api import (
    SUBDOMAIN,
    Fault,
    complaint,
    duplicate,
    forbidden,
    invalid,
    labels,
    required,
    unsupported,
)
from nslab.lab.read import address_fault
from nslab.lab.words import Complaint, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.lab.draft import DeploymentDraft, LabDraft, ServiceDraft, SliceDraft
    from nslab.lab.types import Container
    from nslab.lab.words import Path

Sequence = list["ServiceDraft"] | list["SliceDraft"] | list["DeploymentDraft"]


def services(draft: LabDraft) -> Iterator[Complaint]:
    """Each Service as kube-proxy needs it."""
    yield from _twice("service", draft.services)
    for service in draft.services:
        for fault in validate_services.faults(service):
            yield complaint("Service", service, fault)


def admitted(draft: LabDraft) -> Iterator[Complaint]:
    """Each Service as the API server wants it."""
    for service in draft.services:
        for fault in validate_services.admission(service):
            yield complaint("Service", service, fault)


def slices(draft: LabDraft) -> Iterator[Complaint]:
    """Each EndpointSlice."""
    yield from _twice("endpointslice", draft.slices)
    for one in draft.slices:
        for fault in _slice(one):
            yield complaint("EndpointSlice", one, fault)


def _slice(one: SliceDraft) -> Iterator[Fault]:
    if one.address_type != "IPv4":
        known = {"IPv4": "", "IPv6": "nslab's networks are IPv4 only", "FQDN": "nslab takes addresses only"}
        why = known.get(one.address_type, "")
        text = invalid(one.address_type, why) if why else unsupported(one.address_type, ("FQDN", "IPv4", "IPv6"))
        yield Fault(("addressType",), text)
    yield from validate_services.name_faults(one.name, validate_services.SUBDOMAIN_FORM, SUBDOMAIN, 253)
    for index, end in enumerate(one.endpoints):
        path: Path = ("endpoints", index)
        if not end.addresses:
            yield Fault((*path, "addresses"), required("must contain at least 1 address"))
        for place, word in enumerate(end.addresses):
            yield from validate_services.outside(word, (*path, "addresses", place))
    names: set[str] = set()
    for index, port in enumerate(one.ports):
        path = ("ports", index)
        yield from validate_services.port_name(port.name, path)
        if port.name in names:
            yield Fault((*path, "name"), duplicate(port.name))
        names.add(port.name)
        yield from validate_services.number_and_protocol(port.port, port.protocol, path)


def deployments(draft: LabDraft) -> Iterator[Complaint]:
    """Each Deployment, and all their replicas."""
    yield from _twice("deployment", draft.deployments)
    for one in draft.deployments:
        for fault in _deployment(one):
            yield complaint("Deployment", one, fault)
    total = sum(max(one.replicas, 0) for one in draft.deployments)
    if total > replicas.MOST:
        most = max(draft.deployments, key=lambda one: one.replicas)
        text = f"the Deployments ask for {total} replicas, and {replicas.MOST} are the most"
        yield Complaint((most.document, "spec", "replicas"), text)
    owners = {f"{one.namespace}/{one.name}" for one in draft.deployments}
    for pod in draft.pods:
        if pod.owner and pod.owner not in owners:
            text = f"the owner of pod {shown(pod.name)}, Deployment {shown(pod.owner)}, is not in the file"
            yield Complaint((*pod.place, "metadata", "ownerReferences"), f"{text}; remove ownerReferences")


def _deployment(one: DeploymentDraft) -> Iterator[Fault]:
    if one.replicas < 0:
        yield Fault(("spec", "replicas"), invalid(one.replicas, "must be greater than or equal to 0"))
    wanted, template = one.selector, one.template
    if not wanted:
        yield Fault(("spec", "selector"), invalid({}, "empty selector is invalid for deployment"))
    elif not wanted.items() <= template.labels.items():
        text = invalid(labels(template.labels), "`selector` does not match template `labels`")
        yield Fault(("spec", "template", "metadata", "labels"), text)
    if template.restart_policy != "Always":
        text = unsupported(str(template.restart_policy), ("Always",))
        yield Fault(("spec", "template", "spec", "restartPolicy"), text)


def probes(draft: LabDraft) -> Iterator[Complaint]:
    """The probes of containers do one thing each."""
    for pod in draft.pods:
        if not pod.inside:
            for fault in _probes((), pod.containers):
                yield complaint("Pod", pod, fault)
    for one in draft.deployments:
        for fault in _probes(("spec", "template"), one.template.containers):
            yield complaint("Deployment", one, fault)


def _probes(inside: Path, containers: Iterable[Container]) -> Iterator[Fault]:
    for index, container in enumerate(containers):
        for name, check in (("readinessProbe", container.readiness), ("livenessProbe", container.liveness)):
            path: Path = (*inside, "spec", "containers", index, name)
            if check is None:
                continue
            kind: str = check.kind
            if not kind:
                yield Fault(path, required("must specify a handler type"))
            elif "+" in kind:
                yield Fault((*path, "tcpSocket"), forbidden("may not specify more than 1 handler type"))
            if name == "livenessProbe" and check.successes != 1:
                yield Fault((*path, "successThreshold"), invalid(check.successes, "must be 1"))


def allocation(draft: LabDraft) -> Iterator[Complaint]:
    """What Services ask for is in its range, and nobody else's. Who was there before goes first."""
    network = draft.service_network
    assert network
    ordered = sorted(draft.services, key=lambda service: service.document)
    addresses: dict[str, Path] = {}
    for service in ordered:
        asked = service.asked
        if service.type == "ExternalName" or asked in ("", "None") or address_fault(asked):
            continue
        place: Path = (service.document, "spec", "clusterIP")
        ip = IPv4Address(asked)
        why = ""
        if ip not in network or ip in (network[0], network[-1]):
            why = f"the provided IP ({ip}) is not in the valid range. The range of valid IPs is {network}"
        elif addresses.setdefault(asked, place) != place:
            why = "provided IP is already allocated"
        if why:
            text = invalid([asked], f"failed to allocate IP {ip}: {why}")
            first = addresses.get(asked, ())
            fault = Fault(("spec", "clusterIPs"), text, place[1:], first if first != place else ())
            yield complaint("Service", service, fault)
    free = (
        network.num_addresses
        - 2
        - len(addresses)
        - (str(draft.dns_address) not in addresses and bool(draft.dns_address))
    )
    waiting = [service for service in ordered if service.type != "ExternalName" and not service.asked]
    for service in waiting[max(free, 0) :]:
        text = "Internal error occurred: failed to allocate a serviceIP: range is full"
        yield Complaint((service.document, "spec"), f"Error from server (InternalError): {text}")
    yield from _node_ports(ordered)


def _node_ports(ordered: list[ServiceDraft]) -> Iterator[Complaint]:
    """A node port belongs to one Service, which may use it once for each protocol."""
    owners: dict[int, tuple[ServiceDraft, Path]] = {}
    needed = 0
    for service in ordered:
        asked: list[tuple[Path, int]] = []
        if service.type in ("NodePort", "LoadBalancer"):
            asked += ((("spec", "ports", i, "nodePort"), port.node_port) for i, port in enumerate(service.ports))
        if service.needs_health_check:
            asked.append((("spec", "healthCheckNodePort"), service.health_check_node_port))
        for path, number in asked:
            place: Path = (service.document, *path)
            why = ""
            first: Path = ()
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
                yield Complaint(place, text, first)
            elif why:
                yield complaint("Service", service, Fault(path, invalid(number, why), (), first))
        open_ports = {
            port.port for i, port in enumerate(service.ports) if f"ports[{i}].nodePort" in open_fields(service)
        }
        needed += len(open_ports) + ("healthCheckNodePort" in open_fields(service))
        if needed and needed + len(owners) > HIGHEST - LOWEST + 1:
            text = "Internal error occurred: failed to allocate a nodePort: range is full"
            yield Complaint((service.document, "spec", "ports"), f"Error from server (InternalError): {text}")
            return


def _twice(kind: str, objects: Sequence) -> Iterator[Complaint]:
    """An object has a name that no other of its kind and namespace has."""
    names: dict[tuple[str, str], Path] = {}
    for one in objects:
        path: Path = (one.document, "metadata", "name")
        first = names.setdefault((one.namespace, one.name), path)
        if one.name and first != path:
            text = f"{kind} {shown(one.name)} of namespace {shown(one.namespace)} is there twice"
            yield Complaint(path, text, first)
