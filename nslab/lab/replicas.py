"""The pods of Deployments, StatefulSets, DaemonSets and Jobs, as their controllers create them."""

from __future__ import annotations

import hashlib
import json
from itertools import count as numbers
from typing import TYPE_CHECKING, Any

from nslab.api.document import Document
from nslab.api.rules import names as words
from nslab.dataclass import replace
from nslab.lab.node_selector import admitted
from nslab.lab.types import DAEMON_SET, NOTHING_SAID, TEMPLATE_HASH, USUAL
from nslab.lab.volumes import with_claims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Pod, Resources, SecurityContext

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that names contain no words; no 0, 1, 3, which look like letters (Kubernetes' alphabet)."""
LONGEST_BASE = 58
"""The API server truncates a base name to this length before it appends five characters: the result is a DNS label."""
COPIED = ("annotations", "finalizers")
"""What a controller's pod has of its template's metadata, besides labels."""
FURTHER = words(
    """
    dnsConfig dnsPolicy enableServiceLinks hostAliases initContainers nodeSelector serviceAccountName subdomain
    terminationGracePeriodSeconds volumes
    """
)
FURTHER_OF_CONTAINERS = words("envFrom lifecycle startupProbe volumeMounts")
MOST = 10_000
"""The maximum number of pods of all controllers together; a file of three lines could request millions."""


def expand(found: Documents) -> None:
    """Append the controllers' pods to the pods without an owner.

    A pod that is a document of the stream keeps its uid, node, address and readiness. Surplus pods go.
    """
    if not found.controllers:
        return
    owners = {one.view.owner_name for one in found.controllers}
    there = {(one.namespace, one.name): one.view for one in found.pods if one.view.owner in owners}
    found.pods = [one for one in found.pods if one.view.owner not in owners]
    admitting = [admitted(one.view.template.node_selector, found.lab.nodes) for one in found.controllers]
    if sum(count(one.view, nodes) for one, nodes in zip(found.controllers, admitting, strict=True)) > MOST:
        return
    for one, nodes in zip(found.controllers, admitting, strict=True):
        template = _replica(one)
        for index, name in enumerate(names(one.view, nodes)):
            node = nodes[index] if one.kind == DAEMON_SET else ""
            found.pods.append(_named(one, template, name, index, node, there.get((one.namespace, name))))


def count(controller: Controller, nodes: Sequence[str]) -> int:
    """The number of a controller's pods."""
    return len(nodes) if controller.kind == DAEMON_SET else max(controller.replicas, 0)


def names(controller: Controller, nodes: Sequence[str] = ()) -> Iterator[str]:
    """The names of a controller's pods. Scaling up only appends names."""
    if controller.kind == "StatefulSet":
        start = controller.document.get("spec", {}).get("ordinals", {}).get("start", 0)
        yield from (f"{controller.name}-{start + index}" for index in range(count(controller, nodes)))
        return
    hashed = template_hash(controller.template)
    middle = f"{hashed}-" if controller.kind == "Deployment" else ""
    base = f"{controller.name}-{middle}"[:LONGEST_BASE]
    seed = "" if controller.kind == "Deployment" else f"{controller.kind}/"
    seen: set[str] = set()
    replicas = count(controller, nodes)
    for number in numbers():
        if len(seen) >= replicas:
            return
        each = nodes[number] if controller.kind == DAEMON_SET and number < replicas else number
        letters = _letters(f"{seed}{controller.namespace}/{controller.name}/{hashed}/{each}", 5)
        if base + letters not in seen:
            seen.add(base + letters)
            yield base + letters


def template_hash(template: Pod) -> str:
    """The pod-template-hash, which distinguishes the replicas of one template from those of the next."""
    parts = (
        *(sorted(template.labels), sorted(template.annotations), template.containers, template.node),
        *(template.hostname, template.share_process_namespace, str(template.restart_policy)),
        *(port.host_port for one in template.containers for port in one.ports if port.host_port),
        *(parts for parts in (template.security, *_rights(template)) if parts not in (NOTHING_SAID, USUAL)),
        *_further(template),
    )
    return _letters(repr(parts), 10)


def _further(template: Pod) -> Iterator[str]:
    """The template's other fields whose change replaces its pods."""
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
    """A controller's pod without a name. All its pods share one spec and one owner reference."""
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
    # GetPodFromTemplate: nothing else that belongs to one pod, such as its deletion.
    metadata: dict[str, Any] = {"namespace": one.namespace, "labels": labels}
    metadata |= {name: value for name, value in value.get("metadata", {}).items() if name in COPIED}
    metadata["ownerReferences"] = [{**owner, "controller": True}]
    spec = value.get("spec", {})
    if one.kind == "StatefulSet" and one.spec.get("serviceName"):
        spec = {**spec, "subdomain": one.spec["serviceName"]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    view = replace(
        template,
        namespace=one.namespace,
        labels=tuple(labels.items()),
        owner=controller.owner_name,
        deletion=0.0,
        document=made,
    )
    return Document(made, (*one.path, "spec", "template"), made=True, view=view)


def _named(controller: Document, one: Document, name: str, index: int, node: str, there: Pod | None) -> Document:
    """The pod with a name, and with the status of the existing one if there is one. `node`: a DaemonSet's choice."""
    labels = dict(one.view.labels)
    if controller.kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = name
        labels["apps.kubernetes.io/pod-index"] = str(index)
    elif controller.kind == "Job" and controller.spec.get("completionMode") == "Indexed":
        labels["batch.kubernetes.io/job-completion-index"] = str(index)
    spec = with_claims(one.value["spec"], controller.spec.get("volumeClaimTemplates"), name)
    subdomain = spec.get("subdomain", "")
    if controller.kind == "StatefulSet":
        spec = {"hostname": name, **spec}
    value = {**one.value, "metadata": {**one.value["metadata"], "labels": labels, "name": name}, "spec": spec}
    view = replace(one.view, name=name, labels=tuple(labels.items()), node=node or one.view.node, document=value)
    view = replace(view, subdomain=subdomain, dns_name=spec.get("hostname", "") if subdomain else "")
    if there is not None:
        node = view.node or there.node
        view = replace(view, uid=there.uid, assigned=there.assigned, ready=there.ready, node=node)
    return Document(value, one.path, made=True, view=view)


def _letters(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(ALPHABET[number // 27**digit % 27] for digit in range(length))
