"""CronJobs are checked whole, and make Jobs at their times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.change import applied, deleted, moved_on
from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.lab.cron_jobs import due, with_made_jobs
from nslab.lab.dump import dump
from nslab.lab.jobs import deadline, expires
from nslab.lab.status import merge_status

if TYPE_CHECKING:
    from nslab.lab.types import Lab

GOOD = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "*/5 * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers: [{name: c, image: x}]
"""
POD = "spec.jobTemplate.spec.template.spec"


def test_a_cron_job_begins_with_nothing() -> None:
    lab, found = parse_with_warnings(GOOD, "f")
    assert [one.kind for one in lab.others] == ["CronJob"]
    assert not [one.sentence for one in found if "kept" in one.sentence]
    assert [pod.name for pod in lab.pods] == ["kube-dns"]
    assert applied(lab, GOOD)[1] == ("cronjob.batch/tick unchanged",)


@pytest.mark.parametrize("zone", ["Etc/UTC", "Europe/Berlin"])
def test_what_it_may_say(zone: str) -> None:
    more = f"spec:\n  timeZone: {zone}\n  concurrencyPolicy: Forbid\n  suspend: true\n  successfulJobsHistoryLimit: 0\n"
    assert len(parse(GOOD.replace("spec:\n", more, 1), "f").others) == 1


REFUSED = """\
*/5 * -> */5
spec.schedule: Invalid value: "*/5 * * *": expected exactly 5 fields, found 4: [*/5 * * *]

*/5 * * * * ->
spec.schedule: Required value

*/5 -> TZ=UTC */5
spec.schedule: Invalid value: "TZ=UTC */5 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead

jobT -> timeZone: Nowhere/Land\\n  jobT
spec.timeZone: Invalid value: "Nowhere/Land": unknown time zone Nowhere/Land

jobT -> timeZone: local\\n  jobT
spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones

jobT -> concurrencyPolicy: Never\\n  jobT
spec.concurrencyPolicy: Unsupported value: "Never": supported values: "Allow", "Forbid", "Replace"

jobT -> startingDeadlineSeconds: -1\\n  jobT
spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0

OnFailure -> Always
POD.restartPolicy: Unsupported value: "Always": supported values: "Never", "OnFailure"

template: -> completions: -2\\n      template:
spec.jobTemplate.spec.completions: Invalid value: -2: must be greater than or equal to 0

template: -> selector: {matchLabels: {a: b}}\\n      template:
spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated

template: -> manualSelector: true\\n      template:
spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"

image: x -> image: x, livenessProbe: {}
POD.containers[0].livenessProbe: Required value: must specify a handler type
"""


@pytest.mark.parametrize("case", REFUSED.replace("POD", POD).strip().split("\n\n"))
def test_the_api_server_refuses(case: str) -> None:
    change, sentence = case.split("\n")
    old, new = (word.strip().replace("\\n", "\n") for word in change.split("->"))
    assert old in GOOD
    with pytest.raises(LabFileError) as wrong:
        parse(GOOD.replace(old, new, 1), "f")
    (one,) = wrong.value.errors
    assert one.sentence == f'The CronJob "tick" is invalid: {sentence}'


def test_its_name_leaves_room_for_the_jobs() -> None:
    assert parse(GOOD.replace("tick", "t" * 52), "f")
    with pytest.raises(LabFileError, match=r'metadata.name: Invalid value: "t+": must be no more than 52 characters'):
        parse(GOOD.replace("tick", "t" * 53), "f")


def test_its_containers_are_checked() -> None:
    with pytest.raises(LabFileError, match="two containers of CronJob tick are called c"):
        parse(GOOD.replace("[{name: c, image: x}]", "[{name: c, image: x}, {name: c, image: y}]"), "f")


def test_a_job_cannot_have_fewer_than_no_pods() -> None:
    job = GOOD.partition("spec:\n      template")[2].replace("\n    ", "\n")
    text = f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: one}}\nspec:\n  parallelism: -1\n  template{job}"
    with pytest.raises(LabFileError, match=r"spec.parallelism: Invalid value: -1: must be greater than or equal to 0"):
        parse(text, "f")


NOON = 1_772_625_600.0
"""A time at which every schedule here has one, in seconds since 1970."""


def ticking(more: str = "suspend: false", job: str = "backoffLimit: 6", came: float = NOON - 100) -> Lab:
    """A lab that came up 100 s before noon, with a CronJob for every five minutes."""
    text = GOOD.replace("spec:\n", f"spec:\n  timeZone: Etc/UTC\n  {more}\n", 1)
    text = text.replace("jobTemplate:\n    spec:\n", f"jobTemplate:\n    spec:\n      {job}\n")
    return stored(replace(parse(text, "f"), created=(("", int(came)),)))


def stored(lab: Lab) -> Lab:
    made = assign_addresses(lab)
    assert parse_stored(dump(made), "kept") == made
    return made


def at(lab: Lab, seconds: float, *phases: str) -> Lab:
    """The lab so many seconds after noon. `phases`: of the Jobs' pods, in their order."""
    pods = [pod for pod in lab.pods if pod.owner.startswith("Job/")]
    report: dict[str, Any] = {
        f"{pod.namespace}/{pod.name}": {"phase": phase, "containers": {}}
        for pod, phase in zip(pods, phases, strict=False)
    }
    return stored(moved_on(lab, report, NOON + seconds))


def jobs(lab: Lab) -> list[str]:
    return [one.name for one in lab.controllers if one.kind == "Job"]


def status(lab: Lab) -> dict[str, Any]:
    return next(one.document.get("status", {}) for one in lab.others if one.kind == "CronJob")


def name(minutes: int) -> str:
    return f"tick-{int(NOON) // 60 + minutes}"


def test_a_job_is_made_when_its_time_has_come() -> None:
    lab = ticking()
    assert due(lab, NOON - 1) == NOON
    assert jobs(at(lab, -1)) == []
    made = at(lab, 1)
    assert jobs(made) == [name(0)]
    assert status(made) == {"lastScheduleTime": "2026-03-04T12:00:00Z"}
    (job,) = (one for one in made.controllers if one.kind == "Job")
    assert job.document["metadata"]["annotations"] == {
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-03-04T12:00:00Z"
    }
    assert job.document["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    assert len([pod for pod in made.pods if pod.owner == job.owner_name]) == 1
    assert due(made, NOON + 1) == NOON + 300
    assert at(made, 200) == made
    assert jobs(at(made, 301)) == [name(0), name(5)], "Allow"


def test_one_job_a_minute() -> None:
    lab = ticking()
    (one,) = lab.others
    every = {**one.document, "spec": {**one.document["spec"], "schedule": "@every 10s"}}
    first = at(replace(lab, others=(replace(one, document=every),)), -95)
    assert jobs(first) == []
    first = at(first, -88)
    assert len(jobs(first)) == 1
    assert due(first, NOON - 70) > NOON - 70
    assert at(first, -70) == first
    assert len(jobs(at(first, -30))) == 2


def test_of_many_missed_times_the_last_counts() -> None:
    assert jobs(at(ticking(), 3700)) == [name(60)]


def test_forbid_and_replace() -> None:
    first = at(ticking("concurrencyPolicy: Forbid"), 1)
    assert jobs(at(first, 301)) == [name(0)]
    assert due(first, NOON + 301) == NOON + 600
    assert jobs(at(first, 310, "Succeeded")) == [name(0), name(5)], "as soon as the one before is over"
    first = at(ticking("concurrencyPolicy: Replace"), 1)
    second = at(first, 301)
    assert jobs(second) == [name(5)]
    assert [pod.owner for pod in second.pods if pod.owner] == [f"Job/default/{name(5)}"]


def test_suspend_and_a_deadline() -> None:
    lab = ticking("suspend: true")
    assert jobs(at(lab, 1)) == []
    assert due(lab, NOON + 1) == float("inf")
    assert jobs(at(ticking("startingDeadlineSeconds: 30"), 31)) == []
    assert jobs(at(ticking("startingDeadlineSeconds: 30"), 29)) == [name(0)]


def test_the_oldest_jobs_go() -> None:
    lab = ticking("successfulJobsHistoryLimit: 1")
    for number in range(3):
        lab = at(lab, number * 300 + 1)
        lab = at(lab, number * 300 + 10, *["Succeeded"] * 3)
    lab = at(lab, 900)
    assert jobs(lab) == [name(10), name(15)]
    assert status(lab)["lastSuccessfulTime"] == "2026-03-04T12:10:10Z"
    assert {pod.owner for pod in lab.pods if pod.owner} == {f"Job/default/{one}" for one in jobs(lab)}


def test_a_file_and_a_change_leave_its_jobs_alone() -> None:
    made = at(ticking(), 1)
    again = replace(parse(GOOD, "f"), created=())
    up = merge_status(with_made_jobs(again, made), made)
    assert (jobs(up), status(up)) == (jobs(made), status(made))
    assert status(merge_status(applied(made, GOOD)[0], made)) == status(made)
    gone, lines = deleted(made, ["cronjob/tick"])
    assert (jobs(gone), lines) == ([], ('cronjob.batch "tick" deleted',))
    assert [pod.name for pod in gone.pods] == ["kube-dns"]


def test_a_job_that_is_active_for_too_long() -> None:
    made = at(ticking(job="activeDeadlineSeconds: 20"), 1)
    made = replace(made, created=(*made.created, (f"Job/default/{name(0)}", int(NOON) + 1)))
    (job,) = (one for one in made.controllers if one.kind == "Job")
    assert deadline(job, made) == NOON + 21
    late = at(made, 21)
    (job,) = (one for one in late.controllers if one.kind == "Job")
    (condition,) = job.document["status"]["conditions"]
    assert condition == {
        "type": "Failed", "status": "True", "reason": "DeadlineExceeded",
        "message": "Job was active longer than specified deadline", "lastTransitionTime": "2026-03-04T12:00:21Z",
    }  # fmt: skip
    assert not [pod for pod in late.pods if pod.owner]


def test_a_job_that_is_over_is_deleted_after_its_time() -> None:
    lab = at(at(ticking(job="ttlSecondsAfterFinished: 60"), 1), 10, "Succeeded")
    (job,) = (one for one in lab.controllers if one.kind == "Job")
    assert expires(job) == NOON + 70
    assert jobs(at(lab, 69)) == [name(0)]
    after = at(lab, 70)
    assert jobs(after) == []
    assert not [pod for pod in after.pods if pod.owner]
