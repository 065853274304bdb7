"""Objects written for or read from another cluster: the default lab for them, and the objects that a user wrote."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from nslab.api.rules import NODE_NAME
from nslab.lab.lab_document import LabDocument
from nslab.lab.node_selector import HOSTNAME
from nslab.lab.types import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.lab.stream import Documents

NODES = ("node1", "node2")
CLIENT = "client"
DNS = "10.96.0.10"
LONGEST_NAME = 63
BY_SERVICE = "endpointslice.kubernetes.io/managed-by"


def default_lab(found: Documents, file: str) -> LabDocument:
    """The default lab of objects without one: two nodes or those that pods name, a client, and a name server."""
    named = dict.fromkeys(name for one in (*found.pods, *found.controllers) for name in _nodes(one))
    nodes = [*named, *(name for name in NODES if name not in named)][: max(len(NODES), len(named))]
    path = PurePath(file)
    name = re.sub("[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:LONGEST_NAME].strip("-")
    value: dict[str, Any] = {
        "metadata": {"name": name or "app"},
        "spec": {
            "dns": {"address": DNS},
            "nodes": [{"name": node} for node in nodes],
            "clients": [{"name": CLIENT}] if CLIENT not in nodes else [],
        },
    }
    return LabDocument(value, 0)


def _nodes(one: Document) -> Iterator[str]:
    """The nodes that a pod, or a controller's template, names; of labels' values those that a node can be called."""
    spec = one.spec if one.kind == "Pod" else one.spec.get("template", {}).get("spec", {})
    name = str(spec.get("nodeName") or spec.get("nodeSelector", {}).get(HOSTNAME) or "")
    if re.fullmatch(NODE_NAME["pattern"], name):
        yield name


def leave_to_controllers(found: Documents) -> None:
    """Remove objects that controllers will create again: `kubectl get` prints a ReplicaSet together with its pods.

    An object of a controller that is not in the file stays, without an owner.
    """
    there = {(one.kind, one.namespace, one.name) for one in (*found.controllers, *found.others)}
    selected = {(one.namespace, one.name) for one in found.services if one.spec.get("selector")}
    for kind in ("controllers", "pods"):
        setattr(found, kind, [one for one in getattr(found, kind) if not _made_by(one, there)])
    found.slices = [one for one in found.slices if not (BY_SERVICE in one.labels and _service(one) in selected)]


def _made_by(one: Document, there: set[tuple[str, str, str]]) -> bool:
    """Whether a controller in the file created an object. Otherwise removes the reference to its controller."""
    owners = [owner for owner in one.metadata.get("ownerReferences", ()) if owner.get("controller")]
    if any((owner.get("kind"), one.namespace, owner.get("name")) in there for owner in owners):
        return True
    if any(owner.get("kind") in CONTROLLERS for owner in owners):
        del one.metadata["ownerReferences"]
    return False


def _service(one: Document) -> tuple[str, str]:
    return one.namespace, one.labels.get("kubernetes.io/service-name", "")
