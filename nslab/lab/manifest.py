"""Services and what belongs to them, without a lab: what `nslab render` is given.

A kube-proxy only reads, and nothing of what is in containers. So nothing is given out here, nothing is refused for its
range, and nodes need not exist; but what the API server would have given out and what no rule can be made without, a
cluster IP, must be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.documents import sources_of
from nslab.api.sentences import of_object, required
from nslab.api.values import Reader, Source
from nslab.dataclass import dataclass
from nslab.errors import FieldError
from nslab.lab import service_document as asks
from nslab.lab import validate_objects, validate_pods, views
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

    `is_lab`: there is a Lab document, too, so the stream can be loaded as one.
    """

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    pods: tuple[Pod, ...] = ()
    controllers: tuple[Controller, ...] = ()
    is_lab: bool = False


def load_manifest(path: Path) -> Manifest:
    """The objects of a file. A Lab document may be among them; nothing is made of it."""
    return _manifest(sources_of(path))


def parse_manifest(text: str, file: str) -> Manifest:
    """The objects of a text. `file` is its name in problems."""
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
    """Every Service has its cluster IP, or None."""
    for one in found.services:
        if not asks.cluster_ip(one.spec) and one.spec["type"] != "ExternalName":
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
