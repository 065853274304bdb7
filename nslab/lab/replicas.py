"""The replicas of Deployments, as the Deployment and ReplicaSet controllers create them."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import TYPE_CHECKING, Any

from nslab.api.document import Document
from nslab.dataclass import replace
from nslab.lab.types import NOTHING_SAID, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.stream import Documents
    from nslab.lab.types import Deployment, Pod, Resources, SecurityContext

HASH = "pod-template-hash"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that names contain no words; no 0, 1, 3, which look like letters (Kubernetes' alphabet)."""
LONGEST_BASE = 58
"""The API server truncates a base name to this length before it appends five characters: the result is a DNS label."""
MOST = 10_000
"""The maximum number of replicas of all Deployments together; a file of three lines could request millions."""


def expand(found: Documents) -> None:
    """Append the replicas to the pods without an owner.

    A replica that is a document of the stream keeps its uid, node, address and readiness. Surplus replicas go.
    """
    if not found.deployments:
        return
    owners = {f"{one.namespace}/{one.name}" for one in found.deployments}
    there = {(one.namespace, one.name): one.view for one in found.pods if one.view.owner in owners}
    found.pods = [one for one in found.pods if one.view.owner not in owners]
    if sum(max(one.view.replicas, 0) for one in found.deployments) > MOST:
        return
    for one in found.deployments:
        template = _replica(one)
        for name in names(one.view):
            found.pods.append(_named(template, name, there.get((one.namespace, name))))


def names(deployment: Deployment) -> Iterator[str]:
    """The names of a Deployment's replicas. Scaling up only appends names."""
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


def template_hash(template: Pod) -> str:
    """The pod-template-hash, which distinguishes the replicas of one template from those of the next."""
    parts = (
        *(sorted(template.labels), sorted(template.annotations), template.containers, template.node),
        *(template.hostname, template.share_process_namespace, str(template.restart_policy)),
        *(port.host_port for one in template.containers for port in one.ports if port.host_port),
        *(parts for parts in (template.security, *_rights(template)) if parts not in (NOTHING_SAID, USUAL)),
    )
    return _letters(repr(parts), 10)


def _rights(template: Pod) -> Iterator[SecurityContext | Resources]:
    for one in template.containers:
        yield from (one.security, one.limits)


def _replica(one: Document) -> Document:
    """A replica without a name. All replicas of a Deployment share one spec."""
    deployment: Deployment = one.view
    template, value = deployment.template, one.spec.get("template", {})
    number = template_hash(template)
    labels = {**dict(template.labels), HASH: number}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{one.name}-{number}", "controller": True}
    metadata: dict[str, Any] = {**value.get("metadata", {}), "namespace": one.namespace, "labels": labels}
    metadata["ownerReferences"] = [owner]
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": value.get("spec", {})}
    view = replace(
        template,
        namespace=one.namespace,
        labels=tuple(labels.items()),
        owner=f"{one.namespace}/{one.name}",
        document=made,
    )
    return Document(made, (*one.path, "spec", "template"), made=True, view=view)


def _named(one: Document, name: str, there: Pod | None) -> Document:
    """The replica with a name, and with the status of the existing one if there is one."""
    value = {**one.value, "metadata": {**one.value["metadata"], "name": name}}
    view = replace(one.view, name=name, document=value)
    if there is not None:
        node = view.node or there.node
        view = replace(view, uid=there.uid, assigned=there.assigned, ready=there.ready, node=node)
    return Document(value, one.path, made=True, view=view)


def _letters(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(ALPHABET[number // 27**digit % 27] for digit in range(length))
