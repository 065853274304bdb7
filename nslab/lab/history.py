"""The ReplicaSets of a Deployment's earlier templates, with their revisions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab.pod_template import template_hash
from nslab.lab.replica_sets import replica_set
from nslab.lab.types import TEMPLATE_HASH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.lab.types import Controller, Lab

    Object = dict[str, Any]

HISTORY = 10
"""How many ReplicaSets without pods a Deployment keeps (revisionHistoryLimit)."""
REVISION = "deployment.kubernetes.io/revision"
"""The annotation that numbers a Deployment's ReplicaSets; that of the present template has the highest number."""


def replica_sets(lab: Lab, deployment: Controller) -> list[Object]:
    """All ReplicaSets of a Deployment, the oldest first, that of its present template last."""
    earlier = [one for one in lab.replica_sets if owner_of(one) == (deployment.namespace, deployment.name)]
    return [*earlier, _numbered(replica_set(deployment), earlier)]


def revision_of(one: Object) -> int:
    """The number of a ReplicaSet."""
    return int(one["metadata"].get("annotations", {}).get(REVISION, 1))


def earlier_replica_sets(new: Lab, kept: Lab) -> list[Object]:
    """The ReplicaSets of earlier templates that the new lab has, the oldest first."""
    before = {one.owner_name: one for one in kept.controllers}
    used = {(pod.owner, dict(pod.labels).get(TEMPLATE_HASH)) for pod in new.pods}
    found: list[Object] = []
    for one in (one for one in new.controllers if one.kind == "Deployment"):
        mine = replica_sets(kept, before[one.owner_name]) if one.owner_name in before else []
        mine = [each for each in mine if _hash(each) != template_hash(one.template)]
        idle = [each for each in mine if (one.owner_name, _hash(each)) not in used]
        dropped = idle[: max(0, len(idle) - one.document["spec"].get("revisionHistoryLimit", HISTORY))]
        found += [each for each in mine if each not in dropped]
    return found


def _numbered(one: Object, earlier: Sequence[Object]) -> Object:
    """A ReplicaSet with its revision: one more than those before it."""
    most = max(map(revision_of, earlier), default=0)
    annotations = {**one["metadata"].get("annotations", {}), REVISION: str(most + 1)}
    return {**one, "metadata": {**one["metadata"], "annotations": annotations}}


def _hash(one: Object) -> str:
    return str(one["metadata"]["labels"][TEMPLATE_HASH])


def owner_of(one: Object) -> tuple[str, str]:
    """The namespace and the name of a ReplicaSet's Deployment."""
    names = (str(owner.get("name", "")) for owner in one["metadata"].get("ownerReferences", ()))
    return str(one["metadata"].get("namespace", "")), next(names, "")
