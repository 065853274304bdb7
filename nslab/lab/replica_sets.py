"""The ReplicaSet that a Deployment's controller makes of its template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nslab.api.pod_types import NOTHING_SAID, USUAL
from nslab.api.rules import names as words
from nslab.api.suffix import letters
from nslab.lab.types import DAEMON_SET, REVISION_HASH, TEMPLATE_HASH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import Pod, Resources, SecurityContext
    from nslab.lab.types import Controller

FURTHER = words(
    """
    affinity dnsConfig dnsPolicy enableServiceLinks hostAliases initContainers nodeSelector serviceAccountName subdomain
    terminationGracePeriodSeconds volumes
    """
)
FURTHER_OF_CONTAINERS = words("envFrom lifecycle startupProbe volumeMounts")


def replica_set(deployment: Controller) -> dict[str, Any]:
    """The object, without a status."""
    hashed = template_hash(deployment.template)
    spec, label = deployment.document["spec"], {TEMPLATE_HASH: hashed}
    selector, template = spec.get("selector", {}), spec.get("template", {})
    metadata = template.get("metadata", {})
    labels = {**metadata.get("labels", {}), **label}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{deployment.name}-{hashed}",
            "namespace": deployment.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(deployment.document)],
        },
        "spec": {
            "replicas": deployment.replicas,
            "selector": {**selector, "matchLabels": {**selector.get("matchLabels", {}), **label}},
            "template": {**template, "metadata": {**metadata, "labels": labels}},
        },
    }


def revision(controller: Controller) -> dict[str, str]:
    """The label by which a controller tells the pods of its template from those of earlier ones; empty: it does not."""
    match controller.kind:
        case "Deployment":
            return {TEMPLATE_HASH: template_hash(controller.template)}
        case "StatefulSet":
            return {REVISION_HASH: f"{controller.name}-{template_hash(controller.template)}"}
        case kind if kind == DAEMON_SET:
            return {REVISION_HASH: template_hash(controller.template)}
    return {}


def owner_reference(owner: dict[str, Any]) -> dict[str, Any]:
    """The reference by which an object belongs to its controller."""
    named = {"apiVersion": owner.get("apiVersion"), "kind": owner["kind"], "name": owner["metadata"].get("name", "")}
    return {**named, "controller": True}


def template_hash(template: Pod) -> str:
    """The pod-template-hash, which distinguishes the replicas of one template from those of the next."""
    parts = (
        *(sorted(template.labels), sorted(template.annotations), template.containers, template.node),
        *(template.hostname, template.share_process_namespace, str(template.restart_policy)),
        *(port.host_port for one in template.containers for port in one.ports if port.host_port),
        *(parts for parts in (template.security, *_rights(template)) if parts not in (NOTHING_SAID, USUAL)),
        *_further(template),
    )
    return letters(repr(parts), 10)


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
