"""What the Job controller does: how many pods of a Job are active, and what follows from those that have ended. Pure.

A pod that has ended stays. While completions are missing, another one takes the place of each, at most `parallelism` at
once; after a failure only after a back-off. A Job fails when more pods have failed than its backoffLimit, or when their
containers were started again that often (restartPolicy OnFailure), or it is active beyond activeDeadlineSeconds; then
its active pods are deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.dataclass import replace
from nslab.lab.creation import created
from nslab.lab.termination import seconds_of, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.api.document import Document
    from nslab.api.pod_types import Pod
    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Lab

    Object = dict[str, Any]

JOB = "Job"
SUCCEEDED, FAILED = "Succeeded", "Failed"
COMPLETE = {
    "type": "Complete",
    "status": "True",
    "reason": "CompletionsReached",
    "message": "Reached expected number of succeeded pods",
}
LIMIT_EXCEEDED = {
    "type": "Failed",
    "status": "True",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
}
TOO_LONG = {
    "type": "Failed",
    "status": "True",
    "reason": "DeadlineExceeded",
    "message": "Job was active longer than specified deadline",
}
INFINITY = float("inf")
BACKOFF_LIMIT = 6
"""The number of failures that a Job bears, by default."""
BACKOFF, LONGEST = 10.0, 600.0
"""Seconds from a pod's failure to its successor: the first, doubled with each further failure, and the most."""


class Ended(NamedTuple):
    """The pods of a Job that have ended, by name, and how often containers of the others were started again.

    `last`: when the last failure was, in seconds since 1970.
    """

    succeeded: frozenset[str]
    failed: frozenset[str]
    restarts: int = 0
    last: float = 0.0


def is_over(job: Object) -> bool:
    """Whether a Job has failed, or is complete, by the conditions that its document keeps."""
    return bool(outcome(job))


def outcome(job: Object) -> str:
    """Failed or Complete; "" of a Job that is not over."""
    found = (str(one.get("type")) for one in job.get("status", {}).get("conditions", ()))
    return next((one for one in found if one in ("Failed", "Complete")), "")


def expires(job: Controller) -> float:
    """When a Job that is over is deleted (ttlSecondsAfterFinished), in seconds since 1970; infinity: never."""
    seconds = job.document["spec"].get("ttlSecondsAfterFinished")
    conditions = job.document.get("status", {}).get("conditions", ())
    ends = [
        seconds_of(one.get("lastTransitionTime")) for one in conditions if one.get("type") in ("Failed", "Complete")
    ]
    return min(ends) + seconds if ends and seconds is not None else INFINITY


def deadline(job: Controller, lab: Lab) -> float:
    """When an unfinished Job has been active for too long (activeDeadlineSeconds); infinity: never."""
    seconds = job.document["spec"].get("activeDeadlineSeconds")
    began = created(lab, JOB, job.namespace, job.name)
    return began + seconds if seconds is not None and began and job.replicas else INFINITY


def active(job: Controller, succeeded: int) -> int:
    """How many of its pods are to run."""
    if is_over(job.document):
        return 0
    return max(0, min(int(job.document["spec"].get("parallelism", 1)), job.replicas - succeeded))


def phase_of(pod: Document) -> str:
    """The phase that a pod's document keeps; "" for one that has not ended."""
    phase = str(pod.value.get("status", {}).get("phase", ""))
    return phase if phase in (SUCCEEDED, FAILED) else ""


def ended(pods: Iterable[Pod], report: Mapping[str, Object]) -> Ended:
    """What became of a Job's pods. `report`: their nodes', by NAMESPACE/NAME."""
    seen = {pod.name: report.get(f"{pod.namespace}/{pod.name}", {}) for pod in pods}
    kept = {pod.name: pod.document.get("status", {}).get("phase") for pod in pods}
    phases = {name: kept[name] if kept[name] in (SUCCEEDED, FAILED) else seen[name].get("phase") for name in seen}
    containers = {name: [*one.get("containers", {}).values()] for name, one in seen.items()}
    succeeded, failed = (frozenset(name for name in phases if phases[name] == phase) for phase in (SUCCEEDED, FAILED))
    restarts = (one.get("restarts", 0) for name in phases if name not in succeeded | failed for one in containers[name])
    ends = (one.get("finished", 0.0) for name in failed for one in containers[name])
    return Ended(succeeded, failed, sum(restarts), max(ends, default=0.0))


def has_failed(job: Controller, found: Ended) -> bool:
    """Whether it has reached its backoffLimit."""
    limit = int(job.document["spec"].get("backoffLimit", BACKOFF_LIMIT))
    return len(found.failed) > limit or found.restarts >= max(limit, 1)


def is_open(job: Controller, found: Ended) -> bool:
    """Whether its controller has anything to do, now or later."""
    return bool(job.replicas) and not is_over(job.document) and len(found.succeeded) < job.replicas


def due(job: Controller, pods: Iterable[Pod], found: Ended) -> float:
    """When its controller makes or deletes pods, in seconds since 1970; 0: now; infinity: not before something ends."""
    if has_failed(job, found) or 0 < job.replicas <= len(found.succeeded):
        return 0.0
    running = sum(pod.name not in found.succeeded | found.failed for pod in pods)
    if not is_open(job, found) or running >= active(job, len(found.succeeded)):
        return float("inf")
    return found.last + min(BACKOFF * 2 ** min(len(found.failed) - 1, 9), LONGEST) if found.failed else 0.0


def jobs(lab: Lab) -> Iterator[tuple[Controller, list[Pod]]]:
    """The Jobs whose controller has something to do, with their pods."""
    for one in lab.controllers:
        if one.kind == JOB and not is_over(one.document):
            yield one, [pod for pod in lab.all_pods if pod.owner == one.owner_name and not pod.deletion]


def move_on(found: Documents, lab: Lab, report: Mapping[str, Object], now: float) -> None:
    """Write into the documents of a lab what became of its Jobs' pods; remove the active ones of a Job that fails."""
    for job, pods in jobs(lab):
        what = ended(pods, report)
        complete = 0 < job.replicas <= len(what.succeeded)
        late = not complete and deadline(job, lab) <= now
        if due(job, pods, what) > now and not late:
            continue
        phases = dict.fromkeys(what.succeeded, SUCCEEDED) | dict.fromkeys(what.failed, FAILED)
        mine, failed = {pod.name for pod in pods}, late or has_failed(job, what)
        for one in found.pods:
            if one.namespace == job.namespace and one.name in phases.keys() & mine:
                one.value["status"] = {**one.value.get("status", {}), "phase": phases[one.name]}
        if failed:
            left = {(job.namespace, name) for name in mine - phases.keys()}
            found.pods = [one for one in found.pods if (one.namespace, one.name) not in left]
        for one in found.controllers:
            if (one.kind, one.namespace, one.name) == (JOB, job.namespace, job.name):
                status = {"succeeded": len(what.succeeded), "failed": max(len(what.failed), int(failed))}
                over = TOO_LONG if late else LIMIT_EXCEEDED if failed else COMPLETE if complete else {}
                conditions = [{**over, "lastTransitionTime": timestamp(now)}] if over else []
                one.value["status"] = {**status, **({"conditions": conditions} if over else {})}


def with_same_jobs(new: Lab, kept: Lab) -> Lab:
    """The new lab; Jobs that it has from a file, and that had begun before, are as far as they were."""
    had = {one.owner_name: one for one in kept.controllers if one.kind == JOB and one.document.get("status")}
    same = {
        one.owner_name: replace(one, document={**one.document, "status": had[one.owner_name].document["status"]})
        for one in new.controllers
        if one.owner_name in had and not one.document.get("status")
        and one.document["spec"] == had[one.owner_name].document["spec"]
    }  # fmt: skip
    if not same:
        return new
    controllers = tuple(same.get(one.owner_name, one) for one in new.controllers)
    pods, pending = (
        (*(pod for pod in some if pod.owner not in same), *(pod for pod in others if pod.owner in same))
        for some, others in ((new.pods, kept.pods), (new.pending, kept.pending))
    )
    return replace(new, controllers=controllers, pods=pods, pending=pending)
