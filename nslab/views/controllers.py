"""Controllers as the API has them: with their status, and with the ReplicaSets of Deployments."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nslab.api.duration import moment, seconds_of
from nslab.api.pod_status import has_condition
from nslab.controllers.controlled import min_ready
from nslab.controllers.rollout import bounds
from nslab.lab import creation, dump
from nslab.lab.cron_jobs import CRON_JOB, cron_jobs, made_by
from nslab.lab.history import REVISION, replica_sets, revision_of
from nslab.lab.jobs import COMPLETE, is_over
from nslab.lab.node_selector import admitted, labelled
from nslab.lab.replica_sets import revision
from nslab.lab.types import DAEMON_SET, ONE_NUMBER, REVISION_HASH, TEMPLATE_HASH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.lab.types import Controller, Lab

    Object = dict[str, Any]

DEADLINE = 600
"""Seconds without progress after which a rollout has failed (progressDeadlineSeconds)."""

PAUSED = {
    "type": "Progressing",
    "status": "Unknown",
    "reason": "DeploymentPaused",
    "message": "Deployment is paused",
}


def controllers(lab: Lab, pods: Mapping[str, Object], now: float) -> Iterator[Object]:
    """The controllers, and the ReplicaSets of each Deployment. `pods`: as the API has them, by NAMESPACE/NAME."""
    owned: dict[str, list[Object]] = {}
    for pod in lab.all_pods:
        owned.setdefault(pod.owner, []).append(pods[f"{pod.namespace}/{pod.name}"])
    for one in lab.controllers:
        yield from _with_status(lab, one, owned.get(one.owner_name, []), now)


def with_active_jobs(document: Object, lab: Lab) -> Object:
    """A CronJob with references to its Jobs that are not over; any other object as it is."""
    for one in cron_jobs(lab) if document.get("kind") == CRON_JOB else ():
        names = [job.name for job in made_by(lab, one) if not is_over(job.document)]
        if one.document is document and names:
            head = {"apiVersion": "batch/v1", "kind": "Job", "namespace": one.namespace}
            active = [{**head, "name": name} for name in names]
            return {**document, "status": {**document.get("status", {}), "active": active}}
    return document


def is_available(pod: Object, seconds: int, now: float) -> bool:
    """Whether a pod has been ready for so long."""
    ready: Object = next((one for one in pod["status"].get("conditions", ()) if one.get("type") == "Ready"), {})
    since = seconds_of(ready["lastTransitionTime"]) if seconds and "lastTransitionTime" in ready else 0.0
    return ready.get("status") == "True" and now >= since + seconds


def _with_status(lab: Lab, one: Controller, pods: Sequence[Object], now: float) -> Iterator[Object]:
    document = dump.controller(one)
    if one.kind == "Deployment":
        sets = [_replica_set(each, one, pods, now) for each in replica_sets(lab, one)]
        metadata = document["metadata"]
        numbered = {**metadata.get("annotations", {}), REVISION: str(revision_of(sets[-1]))}
        status = _deployment(lab, one, sets, pods, now)
        yield {**document, "metadata": {**metadata, "annotations": numbered}, "status": status}
        yield from sets
    elif one.kind == "StatefulSet":
        yield {**document, "status": _stateful_set(one, pods, now)}
    elif one.kind == DAEMON_SET:
        yield {**document, "status": _daemon_set(lab, one, pods, now)}
    elif one.kind in ONE_NUMBER:
        yield {**document, "status": _counts(pods, min_ready(one), now)}
    else:
        began = creation.created(lab, one.kind, one.namespace, one.name)
        yield {**document, "status": _job(one, Counter(pod["status"]["phase"] for pod in pods), began)}


def _counts(pods: Sequence[Object], seconds: int, now: float) -> Object:
    """How many pods there are, are ready, and are available; without what is 0."""
    numbers = {
        "replicas": len(pods),
        "readyReplicas": sum(has_condition(pod, "Ready") for pod in pods),
        "availableReplicas": sum(is_available(pod, seconds, now) for pod in pods),
    }
    return {name: number for name, number in numbers.items() if number}


def _labelled(pods: Iterable[Object], label: str, value: str) -> list[Object]:
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get(label) == value]


def _replica_set(one: Object, deployment: Controller, pods: Sequence[Object], now: float) -> Object:
    """A ReplicaSet of a Deployment; it wants the pods that it has."""
    mine = _labelled(pods, TEMPLATE_HASH, one["metadata"]["labels"][TEMPLATE_HASH])
    status = {"replicas": 0, **_counts(mine, min_ready(deployment), now)}
    return {**one, "spec": {**one["spec"], "replicas": len(mine)}, "status": status}


def _deployment(lab: Lab, one: Controller, sets: Sequence[Object], pods: Sequence[Object], now: float) -> Object:
    status = _counts(pods, min_ready(one), now)
    updated, available = sets[-1]["status"].get("replicas", 0), status.get("availableReplicas", 0)
    numbers = {"updatedReplicas": updated, "unavailableReplicas": max(0, len(pods) - available)}
    least = one.replicas - bounds(one)[1]
    enough = available >= least
    conditions = [
        {
            "type": "Available",
            "status": str(enough),
            "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        }
    ]
    done = len(pods) == updated == one.replicas == available
    conditions.append(_progress(lab, one, sets[-1]["metadata"]["name"], pods, now, done=done))
    return {**status, **{name: number for name, number in numbers.items() if number}, "conditions": conditions}


def _progress(lab: Lab, one: Controller, name: str, pods: Sequence[Object], now: float, *, done: bool) -> Object:
    """The condition Progressing (DeploymentProgressing, DeploymentTimedOut). `name`: the newest ReplicaSet's."""
    if one.document["spec"].get("paused"):
        return {**PAUSED}
    last = max((seconds_of(time) for time in _times(pods)), default=0.0)
    last = max(last, creation.created(lab, "ReplicaSet", one.namespace, name))
    deadline = one.document["spec"].get("progressDeadlineSeconds", DEADLINE)
    late = not done and bool(last) and now > last + deadline
    reason = "NewReplicaSetAvailable" if done else "ProgressDeadlineExceeded" if late else "ReplicaSetUpdated"
    words = "has successfully progressed" if done else "has timed out progressing" if late else "is progressing"
    message = f'ReplicaSet "{name}" {words}.'
    return {"type": "Progressing", "status": str(not late), "reason": reason, "message": message}


def _times(pods: Iterable[Object]) -> Iterator[str]:
    """When pods came, and became ready."""
    for pod in pods:
        yield from (time for time in [pod["metadata"].get("creationTimestamp")] if time)
        conditions = pod["status"].get("conditions", ())
        yield from (one["lastTransitionTime"] for one in conditions if one.get("lastTransitionTime"))


def _stateful_set(one: Controller, pods: Sequence[Object], now: float) -> Object:
    (newest,) = revision(one).values()
    updated = _labelled(pods, REVISION_HASH, newest)
    earlier = [pod for pod in pods if pod not in updated]
    hashes = [pod["metadata"].get("labels", {}).get(REVISION_HASH, newest) for pod in earlier]
    current = hashes[0] if hashes else newest
    numbers = {"currentReplicas": len(earlier) or len(updated), "updatedReplicas": len(updated)}
    revisions = {"currentRevision": current, "updateRevision": newest}
    present = {name: number for name, number in numbers.items() if number}
    return {**_counts(pods, min_ready(one), now), **present, **revisions}


def _daemon_set(lab: Lab, one: Controller, pods: Sequence[Object], now: float) -> Object:
    (newest,) = revision(one).values()
    wanted = len(admitted(one.template, labelled(lab.nodes)))
    nodes = [pod["spec"].get("nodeName") for pod in pods if is_available(pod, min_ready(one), now)]
    available = len({*nodes})
    numbers = {
        "desiredNumberScheduled": wanted,
        "currentNumberScheduled": len({pod["spec"].get("nodeName") for pod in pods}),
        "updatedNumberScheduled": len(_labelled(pods, REVISION_HASH, newest)),
        "numberReady": len({pod["spec"].get("nodeName") for pod in pods if has_condition(pod, "Ready")}),
        "numberAvailable": available,
        "numberUnavailable": wanted - available,
    }
    return {name: number for name, number in numbers.items() if number or name != "numberUnavailable"}


def _job(job: Controller, phases: Counter[str], began: float) -> Object:
    """A Job's status. `phases`: how many of its pods are in which phase; its document keeps that it has failed.

    `began`: in seconds since 1970; 0: nobody knows.
    """
    kept = job.document.get("status", {})
    done = max(phases["Succeeded"], kept.get("succeeded", 0))
    conditions = [COMPLETE] if 0 < job.replicas <= done else []
    failed = max(phases["Failed"], kept.get("failed", 0))
    return {
        "succeeded": done,
        "active": phases["Pending"] + phases["Running"],
        **({"failed": failed} if failed else {}),
        **({"startTime": moment(began)} if began else {}),
        **({"completionTime": end} if (end := _completed(kept)) else {}),
        **({"conditions": found} if (found := kept.get("conditions") or conditions) else {}),
    }


def _completed(status: Object) -> str:
    """When a Job was complete; "" if it is not."""
    ends = (one.get("lastTransitionTime") for one in status.get("conditions", ()) if one.get("type") == "Complete")
    return next((str(end) for end in ends if end), "")
