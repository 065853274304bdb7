"""The replicas of Deployments, as the Deployment and ReplicaSet controllers would make them."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab.types import NOTHING_SAID, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.draft import DeploymentDraft, LabDraft, PodDraft
    from nslab.lab.types import Resources, SecurityContext

HASH = "pod-template-hash"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that no words come of it; no 0, 1, 3, which look like letters (Kubernetes' choice)."""
LONGEST_BASE = 58
"""The API server cuts what it puts five characters behind, so that the whole is a DNS label."""
MOST = 10_000
"""So many replicas of all Deployments together; a file of three lines could ask for millions."""


def expand(draft: LabDraft) -> None:
    """Put the replicas among the pods, behind those that belong to nobody.

    A replica that is a document of the stream keeps what that says of it: uid, node, address, readiness. One that no
    Deployment wants any more goes.
    """
    if not draft.deployments:
        return
    owners = {f"{one.namespace}/{one.name}" for one in draft.deployments}
    there = {(pod.namespace, pod.name): pod for pod in draft.pods if pod.owner in owners}
    draft.pods = [pod for pod in draft.pods if pod.owner not in owners]
    if sum(max(one.replicas, 0) for one in draft.deployments) > MOST:
        return
    for one in draft.deployments:
        draft.pods += (_replica(one, name, there.get((one.namespace, name))) for name in names(one))


def names(deployment: DeploymentDraft) -> Iterator[str]:
    """The names of its replicas, in an order that only grows at its end."""
    template = template_hash(deployment.template)
    base = f"{deployment.name}-{template}-"[:LONGEST_BASE]
    seen: set[str] = set()
    for number in count():
        if len(seen) >= deployment.replicas:
            return
        name = base + _letters(f"{deployment.namespace}/{deployment.name}/{template}/{number}", 5)
        if name not in seen:
            seen.add(name)
            yield name


def template_hash(template: PodDraft) -> str:
    """What tells the replicas of one template from those of the next."""
    said = (
        *(sorted(template.labels.items()), sorted(template.annotations.items()), template.containers, template.node),
        *(template.hostname, template.share_process_namespace, str(template.restart_policy)),
        *(port.host_port for one in template.containers for port in one.ports if port.host_port),
        *(said for said in (template.security, *_rights(template)) if said not in (NOTHING_SAID, USUAL)),
    )
    return _letters(repr(said), 10)


def _rights(template: PodDraft) -> Iterator[SecurityContext | Resources]:
    for one in template.containers:
        yield from (one.security, one.limits)


def _replica(deployment: DeploymentDraft, name: str, there: PodDraft | None) -> PodDraft:
    template = deployment.template
    made = replace(
        template,
        name=name,
        namespace=deployment.namespace,
        labels={**template.labels, HASH: template_hash(template)},
        owner=f"{deployment.namespace}/{deployment.name}",
        document=deployment.document,
        inside=("spec", "template"),
    )
    if there is not None:
        made.uid, made.assigned, made.ready = there.uid, there.assigned, there.ready
        made.node = template.node or there.node
    return made


def _letters(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(ALPHABET[number // 27**place % 27] for place in range(length))
