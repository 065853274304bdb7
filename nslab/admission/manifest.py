"""Manifests without a lab, the input of `nslab render`: Services, EndpointSlices, pods, Deployments.

A kube-proxy only reads, and it does not read containers. So this module accepts values outside the cluster ranges, and
requires neither nodes nor valid pods. It allocates what rules need and a real API server would have allocated: the
first free cluster IPs and node ports.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.admission import validate_objects
from nslab.admission.load import refuse
from nslab.api import service_document
from nslab.api.addresses import address_fault
from nslab.api.documents import sources_of
from nslab.api.values import Reader, Source
from nslab.dataclass import dataclass, replace
from nslab.errors import FieldError
from nslab.lab import service_views
from nslab.lab.allocate import CLUSTER_IP, HEALTH, HIGHEST, LOWEST, node_port, unset_fields
from nslab.lab.defaults import SERVICE_NETWORK, complete_objects
from nslab.lab.stream import OURS, read_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from nslab.api.pod_types import Pod
    from nslab.api.service_types import EndpointSlice, Service, ServicePort
    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Node


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of a stream. The pods of controllers are among the pods; pods may lack node and address.

    `is_lab`: the stream also has a Lab document, so it can be loaded as a lab.
    """

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    pods: tuple[Pod, ...] = ()
    controllers: tuple[Controller, ...] = ()
    nodes: tuple[Node, ...] = ()
    is_lab: bool = False


def load_manifest(path: Path) -> Manifest:
    """The objects of a file. A Lab document among them is ignored."""
    return read_manifest(sources_of(path))


def has_lab(sources: Sequence[Source]) -> bool:
    """Whether there is a Lab document in some sources, so that they can be loaded as one."""
    there = any(OURS in source.text for source in sources)
    return there and read_stream(Reader(*sources), lab=False).lab.document is not None


def parse_manifest(text: str, file: str, service_network: IPv4Network = SERVICE_NETWORK) -> Manifest:
    """The objects of a text. `file` is its name in problems. Services get cluster IPs from `service_network`."""
    return read_manifest((Source(file, text),), service_network)


def read_manifest(sources: Sequence[Source], service_network: IPv4Network = SERVICE_NETWORK) -> Manifest:
    """The objects of some sources. Services get cluster IPs from `service_network`."""
    reader = Reader(*sources)
    # What a server fills in is meant: pods' addresses and phases, a load balancer's address.
    found = read_stream(reader, lab=False, stored=True)
    complete_objects(found)
    refuse(reader, [*(fault for check in CHECKS for fault in check(found)), *full(found, service_network)])
    return Manifest(
        services=tuple(allocated(map(service_views.service, found.services), service_network)),
        slices=tuple(map(service_views.endpoint_slice, found.slices)),
        pods=tuple(one.view for one in found.pods),
        controllers=tuple(one.view for one in found.controllers),
        is_lab=found.lab.document is not None,
    )


def allocated(services: Iterable[Service], network: IPv4Network) -> Iterator[Service]:
    """The Services with their unset fields: the first free address or port each, in the order of the file.

    The network's first address is the Service kubernetes', in every cluster. No load balancer allocates addresses here.
    """
    services = tuple(services)
    taken = {one.cluster_ip for one in services}
    addresses = (network[number] for number in range(2, network.num_addresses - 1) if network[number] not in taken)
    used = {number for one in services for number in (one.health_check_node_port, *(p.node_port for p in one.ports))}
    numbers = (number for number in range(LOWEST, HIGHEST + 1) if number not in used)
    for one in services:
        yield replace(
            one,
            cluster_ip=next(addresses, None) if CLUSTER_IP in one.allocated else one.cluster_ip,
            ports=tuple(_with_node_ports(one, numbers)),
            health_check_node_port=next(numbers, 0) if HEALTH in one.allocated else one.health_check_node_port,
        )


def _with_node_ports(service: Service, numbers: Iterator[int]) -> Iterator[ServicePort]:
    """A Service's ports; TCP and UDP of one number get one node port, as in Kubernetes."""
    given = {port.port: port.node_port for port in service.ports if port.node_port}
    for index, port in enumerate(service.ports):
        if node_port(index) not in service.allocated:
            yield port
            continue
        if port.port not in given:
            given[port.port] = next(numbers, 0)
        yield replace(port, node_port=given[port.port])


def full(found: Documents, network: IPv4Network) -> Iterator[FieldError]:
    """Services for which the network has no address left."""
    waiting = [one for one in found.services if CLUSTER_IP in unset_fields(one.spec, ())]
    inside = {
        asked for one in found.services if (asked := service_document.cluster_ip(one.spec)) and not address_fault(asked)
    }
    free = network.num_addresses - 3 - sum(IPv4Address(one) in network for one in inside)
    for one in waiting[max(free, 0) :]:
        text = "Internal error occurred: failed to allocate a serviceIP: range is full"
        yield FieldError((*one.path, "spec"), f"Error from server (InternalError): {text}")


CHECKS = (validate_objects.services, validate_objects.slices)
