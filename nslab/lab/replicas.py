"""The pods of Deployments, StatefulSets, DaemonSets, Jobs, as their controllers in the control plane make them."""

from __future__ import annotations

import hashlib
import json
from itertools import count as numbers
from typing import TYPE_CHECKING, Any

from nslab.api.document import Document
from nslab.api.rules import names as words
from nslab.dataclass import replace
from nslab.lab.types import DAEMON_SET, NOTHING_SAID, TEMPLATE_HASH, USUAL
from nslab.lab.volumes import with_claims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Pod, Resources, SecurityContext

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that no words come of it; no 0, 1, 3, which look like letters (Kubernetes' choice)."""
LONGEST_BASE = 58
"""The API server cuts what it puts five characters behind, so that the whole is a DNS label."""
FURTHER = words(
    """
    dnsConfig dnsPolicy enableServiceLinks hostAliases initContainers serviceAccountName subdomain
    terminationGracePeriodSeconds volumes
    """
)
FURTHER_OF_CONTAINERS = words("envFrom lifecycle startupProbe volumeMounts")
MOST = 10_000
"""So many pods of all controllers together; a file of three lines could ask for millions."""


def expand(found: Documents) -> None:
    """Put the pods of controllers behind those that belong to nobody.

    A pod that is a document of the stream keeps what that says of it: uid, node, address, readiness. One that no
    controller wants any more goes.
    """
    if not found.controllers:
        return
    owners = {one.view.owner_name for one in found.controllers}
    there = {(one.namespace, one.name): one.view for one in found.pods if one.view.owner in owners}
    found.pods = [one for one in found.pods if one.view.owner not in owners]
    nodes = tuple(node.name for node in found.lab.nodes)
    if sum(count(one.view, nodes) for one in found.controllers) > MOST:
        return
    for one in found.controllers:
        template = _replica(one)
        for index, name in enumerate(names(one.view, nodes)):
            node = nodes[index] if one.kind == DAEMON_SET else ""
            found.pods.append(_named(one, template, name, index, node, there.get((one.namespace, name))))


def count(controller: Controller, nodes: Sequence[str]) -> int:
    """How many pods a controller makes."""
    return len(nodes) if controller.kind == DAEMON_SET else max(controller.replicas, 0)


def names(controller: Controller, nodes: Sequence[str] = ()) -> Iterator[str]:
    """The names of a controller's pods, in an order that only grows at its end."""
    if controller.kind == "StatefulSet":
        start = controller.document.get("spec", {}).get("ordinals", {}).get("start", 0)
        yield from (f"{controller.name}-{start + index}" for index in range(count(controller, nodes)))
        return
    hashed = template_hash(controller.template)
    middle = f"{hashed}-" if controller.kind == "Deployment" else ""
    base = f"{controller.name}-{middle}"[:LONGEST_BASE]
    seed = "" if controller.kind == "Deployment" else f"{controller.kind}/"
    seen: set[str] = set()
    wanted = count(controller, nodes)
    for number in numbers():
        if len(seen) >= wanted:
            return
        each = nodes[number] if controller.kind == DAEMON_SET and number < wanted else number
        letters = _letters(f"{seed}{controller.namespace}/{controller.name}/{hashed}/{each}", 5)
        if base + letters not in seen:
            seen.add(base + letters)
            yield base + letters


def template_hash(template: Pod) -> str:
    """What tells the replicas of one template from those of the next."""
    parts = (
        *(sorted(template.labels), sorted(template.annotations), template.containers, template.node),
        *(template.hostname, template.share_process_namespace, str(template.restart_policy)),
        *(port.host_port for one in template.containers for port in one.ports if port.host_port),
        *(parts for parts in (template.security, *_rights(template)) if parts not in (NOTHING_SAID, USUAL)),
        *_further(template),
    )
    return _letters(repr(parts), 10)


def _further(template: Pod) -> Iterator[str]:
    """What else a template says that makes its pods other ones."""
    spec = template.document.get("spec", {})
    yield from (json.dumps([name, spec[name]], sort_keys=True) for name in sorted(FURTHER & spec.keys()))
    for container in spec.get("containers", ()):
        further = FURTHER_OF_CONTAINERS & container.keys()
        yield from (json.dumps([name, container[name]], sort_keys=True) for name in sorted(further))
        yield from (json.dumps(one, sort_keys=True) for one in container.get("env", ()) if one.get("valueFrom"))


def _rights(template: Pod) -> Iterator[SecurityContext | Resources]:
    for one in template.containers:
        yield from (one.security, one.limits)


def _replica(one: Document) -> Document:
    """A pod of a controller without its name. They have one spec together, and their controller's reference."""
    controller: Controller = one.view
    template, value = controller.template, one.spec.get("template", {})
    labels = dict(template.labels)
    owner = {"apiVersion": one.value.get("apiVersion"), "kind": one.kind, "name": one.name}
    if one.kind == "Deployment":
        number = template_hash(template)
        labels[TEMPLATE_HASH] = number
        owner |= {"kind": "ReplicaSet", "name": f"{one.name}-{number}"}
    elif one.kind == "Job":
        labels |= dict.fromkeys(("batch.kubernetes.io/job-name", "job-name"), one.name)
    metadata: dict[str, Any] = {**value.get("metadata", {}), "namespace": one.namespace, "labels": labels}
    metadata["ownerReferences"] = [{**owner, "controller": True}]
    spec = value.get("spec", {})
    if one.kind == "StatefulSet" and one.spec.get("serviceName"):
        spec = {"subdomain": one.spec["serviceName"], **spec}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    view = replace(
        template,
        namespace=one.namespace,
        labels=tuple(labels.items()),
        owner=controller.owner_name,
        document=made,
    )
    return Document(made, (*one.path, "spec", "template"), made=True, view=view)


def _named(controller: Document, one: Document, name: str, index: int, node: str, there: Pod | None) -> Document:
    """The pod of a name, as it was if it was there. `node`: where a DaemonSet has it."""
    labels = dict(one.view.labels)
    if controller.kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = name
        labels["apps.kubernetes.io/pod-index"] = str(index)
    elif controller.kind == "Job" and controller.spec.get("completionMode") == "Indexed":
        labels["batch.kubernetes.io/job-completion-index"] = str(index)
    spec = with_claims(one.value["spec"], controller.spec.get("volumeClaimTemplates"), name)
    value = {**one.value, "metadata": {**one.value["metadata"], "labels": labels, "name": name}, "spec": spec}
    view = replace(one.view, name=name, labels=tuple(labels.items()), node=node or one.view.node, document=value)
    if there is not None:
        node = view.node or there.node
        view = replace(view, uid=there.uid, assigned=there.assigned, ready=there.ready, node=node)
    return Document(value, one.path, made=True, view=view)


def _letters(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(ALPHABET[number // 27**digit % 27] for digit in range(length))
