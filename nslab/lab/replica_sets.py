"""The ReplicaSet that a Deployment's controller makes of its template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab.pod_template import template_hash
from nslab.lab.types import DAEMON_SET, REVISION_HASH, TEMPLATE_HASH

if TYPE_CHECKING:
    from nslab.lab.types import Controller


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
