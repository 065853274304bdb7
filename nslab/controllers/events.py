"""The Events of controllers: what they have done from one state of a lab to the next, in their words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.controllers.controlled import by_owner
from nslab.lab.cron_jobs import cron_jobs, made_by
from nslab.lab.history import replica_sets
from nslab.lab.jobs import INFINITY, JOB, expires, outcome
from nslab.lab.types import TEMPLATE_HASH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Controller, Kept, Lab

SOURCES = {
    "Deployment": "deployment-controller",
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "StatefulSet": "statefulset-controller",
    "DaemonSet": "daemonset-controller",
    "Job": "job-controller",
    "CronJob": "cronjob-controller",
}
"""Who reports about an object of each kind."""


class Happening(NamedTuple):
    """What a controller has done about one of its objects."""

    kind: str
    namespace: str
    name: str
    reason: str
    message: str
    warning: bool = False


def controller_events(before: Lab | None, after: Lab, by_user: Collection[str] = ()) -> Iterator[Happening]:
    """What controllers did between two states. `by_user`: pods, NAMESPACE/NAME, that no controller deleted."""
    old, new = by_owner(before.all_pods if before else ()), by_owner(after.all_pods)
    for one in after.controllers:
        had, has = old.get(one.owner_name, []), new.get(one.owner_name, [])
        if one.kind == "Deployment":
            yield from _scaled(after, one, had, has)
        yield from _made(one, had, has, by_user)
    known = {one.owner_name: one for one in before.controllers} if before else {}
    for one in after.controllers:
        if one.kind == JOB and one.owner_name in known:
            yield from _over(known[one.owner_name], one)
    for cron_job in cron_jobs(after):
        jobs = {job.name: job for job in made_by(before, cron_job)} if before else {}
        yield from _of_cron_job(cron_job, jobs, {job.name: job for job in made_by(after, cron_job)})


def _scaled(lab: Lab, deployment: Controller, had: list[Pod], has: list[Pod]) -> Iterator[Happening]:
    for one in reversed(replica_sets(lab, deployment)):
        name, hashed = str(one["metadata"]["name"]), one["metadata"]["labels"][TEMPLATE_HASH]
        old, new = (sum(dict(pod.labels).get(TEMPLATE_HASH) == hashed for pod in pods) for pods in (had, has))
        if old != new:
            text = f"Scaled {'up' if new > old else 'down'} replica set {name} from {old} to {new}"
            yield Happening(deployment.kind, deployment.namespace, deployment.name, "ScalingReplicaSet", text)


def _made(one: Controller, had: list[Pod], has: list[Pod], by_user: Collection[str]) -> Iterator[Happening]:
    before, after = ({(pod.name, pod.uid) for pod in pods} for pods in (had, has))
    for pod in has:
        if (pod.name, pod.uid) not in before:
            yield _about_pod(one, pod, "Create")
    for pod in had:
        if (pod.name, pod.uid) not in after and f"{pod.namespace}/{pod.name}" not in by_user:
            yield _about_pod(one, pod, "Delete")


def _about_pod(one: Controller, pod: Pod, verb: str) -> Happening:
    kind, name = one.kind, one.name
    if kind == "Deployment":
        kind, name = "ReplicaSet", f"{one.name}-{dict(pod.labels).get(TEMPLATE_HASH, '')}"
    text = f"{verb}d pod: {pod.name}"
    if kind == "StatefulSet":
        text = f"{verb.lower()} Pod {pod.name} in StatefulSet {name} successful"
    return Happening(kind, one.namespace, name, f"Successful{verb}", text)


def _over(before: Controller, after: Controller) -> Iterator[Happening]:
    """What has become of a Job."""
    how = outcome(after.document)
    if not how or outcome(before.document):
        return
    if how == "Complete":
        yield Happening(JOB, after.namespace, after.name, "Completed", "Job completed")
        return
    conditions: list[dict[str, Any]] = after.document["status"]["conditions"]
    failed = next(each for each in conditions if each.get("type") == how)
    reason, message = str(failed.get("reason", how)), str(failed.get("message", ""))
    yield Happening(JOB, after.namespace, after.name, reason, message, warning=True)


def _of_cron_job(one: Kept, before: dict[str, Controller], after: dict[str, Controller]) -> Iterator[Happening]:
    def happening(reason: str, message: str) -> Happening:
        return Happening(one.kind, one.namespace, one.name, reason, message)

    for name, job in after.items():
        if name not in before:
            yield happening("SuccessfulCreate", f"Created job {name}")
        elif (how := outcome(job.document)) and not outcome(before[name].document):
            yield happening("SawCompletedJob", f"Saw completed job: {name}, condition: {how}")
    for name, job in before.items():
        if name not in after and expires(job) == INFINITY:
            yield happening("SuccessfulDelete", f"Deleted job {name}")
