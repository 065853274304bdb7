"""Checks of CronJobs, which nslab keeps and does not run, with the API server's messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nslab.admission.validate_controllers import NEGATIVE, job_errors
from nslab.admission.validate_pods import cron_jobs
from nslab.api.cron import schedule_fault
from nslab.api.sentences import invalid, of_object, required, unsupported
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

LONGEST_NAME = 52
"""The controller appends a dash and ten digits to the names of Jobs."""
POLICIES = ("Allow", "Forbid", "Replace")
COUNTS = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
JOB: FieldPath = ("spec", "jobTemplate", "spec")
ZONE_PART = re.compile(r"(?!-|\.\.?$)[A-Za-z._0-9+-]{1,14}")


def valid_cron_jobs(found: Documents) -> Iterator[FieldError]:
    """Each CronJob is valid."""
    for one in cron_jobs(found):
        for error in (*_name(one), *_spec(one.spec), *_job(one.spec.get("jobTemplate", {}).get("spec", {}))):
            yield of_object(one, error)


def _name(one: Document) -> Iterator[FieldError]:
    if len(one.name) > LONGEST_NAME:
        yield FieldError(("metadata", "name"), invalid(one.name, f"must be no more than {LONGEST_NAME} characters"))


def _spec(spec: dict[str, Any]) -> Iterator[FieldError]:
    """The errors of its own fields (validateCronJobSpec)."""
    schedule, path = spec.get("schedule", ""), ("spec", "schedule")
    if not schedule:
        yield FieldError(path, required())
    elif "TZ" in schedule:
        yield FieldError(path, invalid(schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
    elif fault := schedule_fault(schedule):
        yield FieldError(path, invalid(schedule, fault))
    for name in COUNTS:
        if (number := spec.get(name, 0)) < 0:
            yield FieldError(("spec", name), invalid(number, NEGATIVE))
    if (zone := spec.get("timeZone")) and (fault := _zone_fault(zone)):
        yield FieldError(("spec", "timeZone"), invalid(zone, fault))
    if (policy := spec.get("concurrencyPolicy") or "Allow") not in POLICIES:
        yield FieldError(("spec", "concurrencyPolicy"), unsupported(policy, POLICIES))


def _zone_fault(zone: str) -> str:
    """Why a time zone is invalid; "" if it is not."""
    if zone.lower() == "local":
        return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    if all(map(ZONE_PART.fullmatch, zone.split("/"))) and (_is_zone(zone) or not _is_zone("Etc/UTC")):
        return ""  # a machine without the names of zones takes all that look like one
    return f"unknown time zone {zone}"


def _is_zone(name: str) -> bool:
    """Whether this machine knows a time zone."""
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _job(spec: dict[str, Any]) -> Iterator[FieldError]:
    """The errors of its Jobs (ValidateJobTemplateSpec)."""
    yield from job_errors(spec, JOB)
    if "selector" in spec:
        yield FieldError((*JOB, "selector"), invalid(spec["selector"], "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        text = 'Unsupported value: true: supported values: "nil", "false"'
        yield FieldError((*JOB, "manualSelector"), text)
