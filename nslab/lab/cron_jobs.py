"""What the controller of CronJobs does: it makes Jobs at their times, and removes the oldest that are over. Pure.

Source: Kubernetes' pkg/controller/cronjob (cronjob_controllerv2.go). A time that was missed counts for as long as no
later one has come, and startingDeadlineSeconds say.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from nslab.api.cron import latest_time, next_time
from nslab.api.document import Document
from nslab.dataclass import replace
from nslab.lab.creation import created
from nslab.lab.jobs import JOB, is_over, outcome
from nslab.lab.replica_sets import owner_reference
from nslab.lab.termination import seconds_of, timestamp
from nslab.lab.views import owner_of as pod_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo

    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Kept, Lab

    Object = dict[str, Any]

CRON_JOB = "CronJob"
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""The annotation of a Job with its time."""
SUCCESSFUL, FAILED = 3, 1
"""How many Jobs of each outcome are kept, by default."""


def cron_jobs(lab: Lab) -> list[Kept]:
    """The CronJobs of a lab."""
    return [one for one in lab.others if one.kind == CRON_JOB and one.api_version.startswith("batch/")]


def is_acting(lab: Lab) -> bool:
    """Whether a CronJob will make Jobs."""
    return any(not one.document["spec"].get("suspend") for one in cron_jobs(lab))


def owner_of(job: Object) -> str:
    """The name of the CronJob that made a Job; "" if none did."""
    owners = job.get("metadata", {}).get("ownerReferences", ())
    return next((str(one.get("name", "")) for one in owners if one.get("kind") == CRON_JOB), "")


def made_by(lab: Lab, cron_job: Kept) -> list[Controller]:
    """The Jobs of a CronJob."""
    return [one for one in lab.controllers if _is_of(one.kind, one.namespace, one.document, cron_job)]


def due(lab: Lab, now: float) -> float:
    """When the next Job is to be made or removed, in seconds since 1970; 0: now; infinity: never."""
    return min((_due(one, lab, now) for one in cron_jobs(lab)), default=float("inf"))


def move_on(found: Documents, lab: Lab, now: float) -> None:
    """Make the Jobs whose time has come, in the documents of a lab; remove those that are too many, with their pods."""
    for one in cron_jobs(lab):
        removed = _removed(one, found.controllers)
        moment = _unmet(one, lab, now)
        jobs = [each for each in found.controllers if _is_of(each.kind, each.namespace, each.value, one)]
        active = [each.name for each in jobs if not is_over(each.value) and each.name not in removed]
        policy = one.document["spec"].get("concurrencyPolicy") or "Allow"
        if policy == "Forbid" and active:
            moment = 0.0
        if moment and policy == "Replace":
            removed |= {*active}
        remove(found, {(one.namespace, name) for name in removed})
        if moment:
            found.controllers.append(Document(_job(one, moment)))
        _note(found, one, moment)


def remove(found: Documents, jobs: set[tuple[str, str]]) -> None:
    """Remove Jobs, by namespace and name, with their pods."""
    owners = {f"{JOB}/{namespace}/{name}" for namespace, name in jobs}
    found.controllers = [one for one in found.controllers if f"{one.kind}/{one.namespace}/{one.name}" not in owners]
    found.pods = [one for one in found.pods if pod_owner(one.value, one.namespace) not in owners]


def with_status(new: Lab, kept: Lab) -> Lab:
    """The new lab; its CronJobs that come from a file are as far as those of the kept one."""
    had = {(one.namespace, one.name): one.document.get("status") for one in cron_jobs(kept)}
    written = {one for one in cron_jobs(new) if had.get((one.namespace, one.name)) and not one.document.get("status")}
    if not written:
        return new
    others = (
        replace(one, document={**one.document, "status": had[one.namespace, one.name]}) if one in written else one
        for one in new.others
    )
    return replace(new, others=tuple(others))


def with_made_jobs(new: Lab, kept: Lab) -> Lab:
    """The lab of a file, with the Jobs that its CronJobs have made in the kept one."""
    there = {one.owner_name for one in new.controllers}
    made = [job for one in cron_jobs(new) for job in made_by(kept, one) if job.owner_name not in there]
    names = {job.owner_name for job in made}
    pods, pending = (
        (*some, *(pod for pod in others if pod.owner in names))
        for some, others in ((new.pods, kept.pods), (new.pending, kept.pending))
    )
    return replace(new, controllers=(*new.controllers, *made), pods=pods, pending=pending)


def _is_of(kind: str, namespace: str, document: Object, cron_job: Kept) -> bool:
    return kind == JOB and namespace == cron_job.namespace and owner_of(document) == cron_job.name


def _due(one: Kept, lab: Lab, now: float) -> float:
    jobs = made_by(lab, one)
    if _removed(one, [Document(job.document) for job in jobs]):
        return 0.0
    spec = one.document["spec"]
    if spec.get("suspend"):
        return float("inf")
    forbidden = spec.get("concurrencyPolicy") == "Forbid" and any(not is_over(job.document) for job in jobs)
    if not forbidden and _unmet(one, lab, now):
        return 0.0
    return next_time(spec["schedule"], now, _zone(spec))


def _unmet(one: Kept, lab: Lab, now: float) -> float:
    """The last time at which a Job was to be made, and was not; 0 if there is none."""
    spec, last = one.document["spec"], seconds_of(one.document.get("status", {}).get("lastScheduleTime"))
    if spec.get("suspend"):
        return 0.0
    earliest = last or float(created(lab, CRON_JOB, one.namespace, one.name)) or now
    if (deadline := spec.get("startingDeadlineSeconds")) is not None:
        earliest = max(earliest, now - deadline)
    moment = latest_time(spec["schedule"], earliest, now, _zone(spec))
    there = any((job.namespace, job.name) == (one.namespace, _name(one, moment)) for job in lab.controllers)
    return 0.0 if there else moment


def _name(one: Kept, moment: float) -> str:
    """The name of the Job of a time, by its minute: a second one in a minute would have the same (getJobName)."""
    return f"{one.name}-{int(moment) // 60}"


def _zone(spec: Object) -> tzinfo | None:
    return ZoneInfo(spec["timeZone"]) if spec.get("timeZone") else None


def _removed(one: Kept, controllers: Iterable[Document]) -> set[str]:
    """The Jobs beyond those that are kept, the oldest first."""
    jobs = sorted((each for each in controllers if _is_of(each.kind, each.namespace, each.value, one)), key=_age)
    limits = (("Complete", "successfulJobsHistoryLimit", SUCCESSFUL), ("Failed", "failedJobsHistoryLimit", FAILED))
    gone: set[str] = set()
    for kind, field, usual in limits:
        over = [each.name for each in jobs if outcome(each.value) == kind]
        gone |= {*over[: max(0, len(over) - one.document["spec"].get(field, usual))]}
    return gone


def _age(job: Document) -> tuple[str, str]:
    return str(job.metadata.get("annotations", {}).get(SCHEDULED, "")), job.name


def _job(one: Kept, moment: float) -> Object:
    """The Job of one time (getJobFromTemplate2)."""
    template = one.document["spec"].get("jobTemplate", {})
    written = template.get("metadata", {})
    zone = _zone(one.document["spec"]) or UTC
    at = datetime.fromtimestamp(int(moment), UTC).astimezone(zone).isoformat().replace("+00:00", "Z")
    metadata = {
        "name": _name(one, moment),
        "namespace": one.namespace,
        "annotations": {**written.get("annotations", {}), SCHEDULED: at},
        "ownerReferences": [owner_reference(one.document)],
    }
    if labels := written.get("labels"):
        metadata["labels"] = dict(labels)
    return {"apiVersion": "batch/v1", "kind": JOB, "metadata": metadata, "spec": {**template.get("spec", {})}}


def _note(found: Documents, one: Kept, moment: float) -> None:
    """Keep what a CronJob has done in its status."""
    jobs = [each for each in found.controllers if _is_of(each.kind, each.namespace, each.value, one)]
    ends = max(_completions(jobs), default="")
    for each in found.others:
        if (each.kind, each.namespace, each.name) == (CRON_JOB, one.namespace, one.name):
            status = {**each.value.get("status", {})}
            status |= {"lastScheduleTime": timestamp(moment)} if moment else {}
            status |= {"lastSuccessfulTime": ends} if ends else {}
            each.value = {**each.value, **({"status": status} if status else {})}


def _completions(jobs: Iterable[Document]) -> Iterator[str]:
    for job in jobs:
        for condition in job.value.get("status", {}).get("conditions", ()):
            if condition.get("type") == "Complete":
                yield str(condition.get("lastTransitionTime", ""))
