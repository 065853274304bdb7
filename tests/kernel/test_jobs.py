"""The Job controller: pods one after the other, and a Job that has failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import TWO_NODES, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

JOB = """\
---
apiVersion: batch/v1
kind: Job
metadata: {name: NAME}
spec:
  NUMBER
  template:
    spec:
      terminationGracePeriodSeconds: 0
      restartPolicy: POLICY
      containers: [{name: c, command: [sh, -c, 'echo COMMAND; COMMAND']}]
"""
JOBS = (
    ("three", "completions: 3", "Never", "sleep 0.2"),
    ("zero", "backoffLimit: 0", "Never", "exit 3"),
    ("again", "backoffLimit: 1", "OnFailure", "exit 4"),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    text = TWO_NODES.replace("NAME", made.name)
    for name, number, policy, command in JOBS:
        job = JOB.replace("NAME", name).replace("NUMBER", number).replace("POLICY", policy)
        text += job.replace("COMMAND", command)
    made.write(text)
    try:
        assert nslab("up", made.file).returncode == 1, "a Job's pod has failed"
        until(lambda: len(over(made)) == len(JOBS), 30)
        yield made
    finally:
        made.clear()


def got(lab: OwnLab, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(nslab("get", lab.name, *words, "-o", "json").stdout)["items"])


def over(lab: OwnLab) -> dict[str, tuple[str, str]]:
    """The type and the reason of a condition, by the names of Jobs that have one."""
    found = {one["metadata"]["name"]: one["status"].get("conditions", ()) for one in got(lab, "jobs")}
    return {name: (one["type"], one["reason"]) for name, some in found.items() for one in some}


def pods(lab: OwnLab, job: str) -> list[dict[str, Any]]:
    return got(lab, "pods", "-l", f"job-name={job}")


def test_one_pod_after_the_other(lab: OwnLab) -> None:
    runs = [one["status"]["containerStatuses"][0]["state"]["terminated"] for one in pods(lab, "three")]
    assert [run["exitCode"] for run in runs] == [0, 0, 0]
    assert over(lab)["three"] == ("Complete", "CompletionsReached")
    created = sorted(one["metadata"]["creationTimestamp"] for one in pods(lab, "three"))
    ends = sorted(run["finishedAt"] for run in runs)
    assert created[2] >= ends[1] >= created[1] >= ends[0]


def test_a_failed_job(lab: OwnLab) -> None:
    assert over(lab)["zero"] == over(lab)["again"] == ("Failed", "BackoffLimitExceeded")
    (pod,) = pods(lab, "zero")
    assert nslab("logs", f"{lab.name}/{pod['metadata']['name']}").stdout == "exit 3\n"
    until(lambda: not pods(lab, "again"))
    hosts = {line.split()[0] for line in lab.pids()}
    assert not [host for host in hosts if host.startswith("again")], "its active pod is deleted"


def test_up_takes_a_job_that_failed_long_ago_as_it_is(lab: OwnLab) -> None:
    before = sorted(one["metadata"]["uid"] for one in got(lab, "pods"))
    done = nslab("up", lab.file)
    assert done.returncode == 0, done.stderr
    assert "is as it should be" in done.stdout
    assert done.stderr.startswith("not ready, and not changed by this: zero-")
    assert sorted(one["metadata"]["uid"] for one in got(lab, "pods")) == before


def test_a_deleted_pod_of_a_complete_job_has_no_successor(lab: OwnLab) -> None:
    gone, *others = (one["metadata"]["name"] for one in pods(lab, "three"))
    assert nslab("delete", lab.name, f"pod/{gone}").returncode == 0
    assert [one["metadata"]["name"] for one in pods(lab, "three")] == others
    assert over(lab)["three"] == ("Complete", "CompletionsReached")
    assert nslab("get", lab.name, "job/three", "-o", "json").stdout.count('"succeeded": 3') == 1
