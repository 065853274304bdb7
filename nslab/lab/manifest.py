"""Services and what belongs to them, without a lab: what `nslab render` is given.

A kube-proxy only reads. So nothing is given out here, nothing is refused for its range, and nodes need not exist; but
what the API server would have given out and what no rule can be made without, a cluster IP, must be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.lab import validate_objects, validate_pods, validate_security
from nslab.lab.api import Fault, complaint, required
from nslab.lab.defaults import finish_pods
from nslab.lab.documents import text_of
from nslab.lab.finish import deployment, endpoint_slice, pod, service
from nslab.lab.load import refuse
from nslab.lab.replicas import expand
from nslab.lab.stream import read_stream, reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.lab.draft import LabDraft
    from nslab.lab.types import Deployment, EndpointSlice, Pod, Service
    from nslab.lab.words import Complaint


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of a stream. The replicas of Deployments are among the pods; pods may lack node and address.

    `is_lab`: there is a Lab document, too, so the stream can be loaded as one.
    """

    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    pods: tuple[Pod, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    is_lab: bool = False


def load_manifest(path: Path) -> Manifest:
    """The objects of a file. A Lab document may be among them; nothing is made of it."""
    return parse_manifest(text_of(path), str(path))


def parse_manifest(text: str, file: str) -> Manifest:
    """The objects of a text. `file` is its name in problems."""
    reader = reader_of(text, file)
    draft = read_stream(text, reader, lab_first=False)
    expand(draft)
    finish_pods(draft)
    refuse(text, reader, (found for check in CHECKS for found in check(draft)))
    return Manifest(
        services=tuple(map(service, draft.services)),
        slices=tuple(map(endpoint_slice, draft.slices)),
        pods=tuple(map(pod, draft.pods)),
        deployments=tuple(map(deployment, draft.deployments)),
        is_lab=draft.document is not None,
    )


def cluster_ips(draft: LabDraft) -> Iterator[Complaint]:
    """Every Service has its cluster IP, or None."""
    for one in draft.services:
        if not one.asked and one.type != "ExternalName":
            why = "there is no lab to take one from; write clusterIP: ADDRESS, or None"
            yield complaint("Service", one, Fault(("spec", "clusterIP"), required(why)))


CHECKS = (
    validate_pods.pods,
    validate_pods.containers,
    validate_security.rights,
    validate_objects.services,
    validate_objects.slices,
    validate_objects.deployments,
    validate_objects.probes,
    cluster_ips,
)
