"""Manifests without a lab, the input of `nslab render`: Services, EndpointSlices, pods, Deployments.

A kube-proxy only reads, and it does not read containers. So this module allocates nothing, accepts values outside the
cluster's ranges, and does not require nodes. But a Service must have its cluster IP: a real API server would have
allocated it, and there are no rules without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.documents import sources_of
from nslab.api.sentences import of_object, required
from nslab.api.values import Reader, Source
from nslab.dataclass import dataclass
from nslab.errors import FieldError
from nslab.lab import service_document, validate_objects, validate_pods, views
from nslab.lab.defaults import complete_objects
from nslab.lab.load import refuse
from nslab.lab.stream import read_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, EndpointSlice, Pod, Service


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of a stream. The pods of controllers are among the pods; pods may lack node and address.

    `is_lab`: the stream also has a Lab document, so it can be loaded as a lab.
    """

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    pods: tuple[Pod, ...] = ()
    controllers: tuple[Controller, ...] = ()
    is_lab: bool = False


def load_manifest(path: Path) -> Manifest:
    """The objects of a file. A Lab document among them is ignored."""
    return _manifest(sources_of(path))


def parse_manifest(text: str, file: str) -> Manifest:
    """The objects of a text. `file` is its name in error messages."""
    return _manifest((Source(file, text),))


def _manifest(sources: Sequence[Source]) -> Manifest:
    reader = Reader(*sources)
    found = read_stream(reader, lab=False)
    complete_objects(found)
    refuse(reader, (fault for check in CHECKS for fault in check(found)))
    return Manifest(
        services=tuple(map(views.service, found.services)),
        slices=tuple(map(views.endpoint_slice, found.slices)),
        pods=tuple(one.view for one in found.pods),
        controllers=tuple(one.view for one in found.controllers),
        is_lab=found.lab.document is not None,
    )


def cluster_ips(found: Documents) -> Iterator[FieldError]:
    """Every Service has a cluster IP, or is headless (None)."""
    for one in found.services:
        if not service_document.cluster_ip(one.spec) and one.spec["type"] != "ExternalName":
            why = "there is no lab to take one from; write clusterIP: ADDRESS, or None"
            yield of_object(one, FieldError(("spec", "clusterIP"), required(why)))


CHECKS = (
    validate_pods.pods,
    validate_objects.services,
    validate_objects.slices,
    validate_objects.controllers,
    validate_objects.probes,
    cluster_ips,
)
