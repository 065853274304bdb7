"""What Felixes are told (pure): policies, pods and namespaces as they were put, without the pods that have ended.

As in Calico, a pod that has succeeded or failed is no workload endpoint any more: its address may be given to another.
"""

from __future__ import annotations

import json

from nslab.components.controllers.endpoints import finished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]


class PolicyController:
    """The document (nslab.policy.document) as it was put (`given`), and as it is `published`: JSON texts, or ""."""

    def __init__(self) -> None:
        self.given = self.published = ""
        self._ended: dict[str, set[str]] = {}  # pods by node, NAMESPACE/NAME

    @property
    def whole(self) -> bool:
        """Whether all that was put is published: no pod has ended."""
        return self.published == self.given

    def put(self, policy: Document) -> bool:
        """Store the document; whether what is published changes."""
        self.given = json.dumps(policy)
        return self._publish(policy)

    def status(self, node: str, pods: dict[str, Document]) -> bool:
        """Take the statuses of all pods of a node; whether what is published changes."""
        ended = {pod for pod, status in pods.items() if finished(status)}
        if ended == self._ended.get(node, set()):
            return False
        self._ended[node] = ended
        return bool(self.given) and self._publish(json.loads(self.given))

    def _publish(self, policy: Document) -> bool:
        ended, before = set().union(*self._ended.values()), self.published
        cluster = policy.get("cluster", {})
        there = [one for one in cluster.get("workloads", ()) if f"{one['namespace']}/{one['name']}" not in ended]
        masked = len(there) != len(cluster.get("workloads", ()))
        self.published = json.dumps({**policy, "cluster": {**cluster, "workloads": there}}) if masked else self.given
        return self.published != before
