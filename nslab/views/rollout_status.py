"""How far a rollout is, in the words of `kubectl rollout status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.words import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    Object = Mapping[str, Any]


def rollout_status(one: Object) -> tuple[str, bool]:
    """The line about a Deployment, a StatefulSet or a DaemonSet, and whether its rollout is done."""
    match one["kind"]:
        case "Deployment":
            return _deployment(one)
        case "StatefulSet":
            return _stateful_set(one)
        case _:
            return _daemon_set(one)


def is_late(one: Object) -> bool:
    """Whether a Deployment has made no progress within its progressDeadlineSeconds."""
    conditions = one.get("status", {}).get("conditions", ())
    return any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)


def _deployment(one: Object) -> tuple[str, bool]:
    name, wanted, status = quoted(one["metadata"]["name"]), one["spec"].get("replicas", 1), one.get("status", {})
    if is_late(one):
        return f"error: deployment {name} exceeded its progress deadline", False
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    updated, total, available = (status.get(field, 0) for field in fields)
    waiting = f"Waiting for deployment {name} rollout to finish:"
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting} {total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting} {available} of {updated} updated replicas are available...", False
    return f"deployment {name} successfully rolled out", True


def _daemon_set(one: Object) -> tuple[str, bool]:
    name, status = quoted(one["metadata"]["name"]), one.get("status", {})
    fields = ("updatedNumberScheduled", "desiredNumberScheduled", "numberAvailable")
    updated, wanted, available = (status.get(field, 0) for field in fields)
    waiting = f"Waiting for daemon set {name} rollout to finish:"
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new pods have been updated...", False
    if available < wanted:
        return f"{waiting} {available} of {wanted} updated pods are available...", False
    return f"daemon set {name} successfully rolled out", True


def _stateful_set(one: Object) -> tuple[str, bool]:
    spec, status = one["spec"], one.get("status", {})
    wanted, ready, updated = spec.get("replicas", 1), status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...", False
    first = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
    if updated < wanted - first:
        counts = f"{updated} out of {wanted - first} new pods have been updated..."
        return f"Waiting for partitioned roll out to finish: {counts}", False
    return f"partitioned roll out complete: {updated} new pods have been updated...", True
