"""A Job's pods: how many at once, what follows from their ends, and what a file that is read again leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.change import applied, deleted, moved_on
from nslab.admission.load import parse, parse_stored
from nslab.lab.dump import dump
from nslab.lab.jobs import Ended, due, ended, is_open, jobs
from nslab.lab.status import merge_status

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab

LAB = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: l}\nspec: {nodes: [{name: a}, {name: b}]}\n---\n"
JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  SPEC
  template:
    spec: {restartPolicy: POLICY, containers: [{name: c, command: [work]}]}
"""
NEVER, ON_FAILURE = "Never", "OnFailure"
NOW = 1000.0
FOREVER = float("inf")


def lab(spec: str = "", policy: str = NEVER) -> Lab:
    return parse(LAB + text(spec, policy), "x")


def text(spec: str, policy: str = NEVER) -> str:
    return JOB.replace("SPEC", spec or "backoffLimit: 6").replace("POLICY", policy)


def pods(found: Lab) -> list[Pod]:
    return [pod for pod in found.pods if pod.owner]


def seen(phase: str, restarts: int = 0, finished: float = NOW) -> dict[str, Any]:
    return {"phase": phase, "containers": {"c": {"restarts": restarts, "finished": finished}}}


def after(found: Lab, *reports: dict[str, Any], now: float = NOW) -> Lab:
    """The lab when its first pods are so, by their names."""
    made = moved_on(found, dict(zip((f"default/{pod.name}" for pod in pods(found)), reports, strict=False)), now)
    assert parse_stored(dump(made), "kept") == made
    return made


def wakes(found: Lab, *reports: dict[str, Any]) -> list[float]:
    report = dict(zip((f"default/{pod.name}" for pod in pods(found)), reports, strict=False))
    return [due(job, mine, ended(mine, report)) for job, mine in jobs(found)]


def conditions(found: Lab) -> list[dict[str, Any]]:
    (job,) = found.controllers
    return list(job.document.get("status", {}).get("conditions", ()))


@pytest.mark.parametrize(
    ("spec", "count"),
    [("completions: 3", 1), ("completions: 5\n  parallelism: 2", 2), ("parallelism: 4", 4)],
)
def test_so_many_pods_at_once(spec: str, count: int) -> None:
    assert len(pods(lab(spec))) == count


def test_one_after_the_other_until_it_is_complete() -> None:
    first = lab("completions: 2")
    second = after(first, seen("Succeeded"))
    old, new = pods(second)
    assert old.name == pods(first)[0].name
    assert (old.document["status"]["phase"], old.finished, new.finished) == ("Succeeded", True, False)
    assert wakes(second, seen("Succeeded"), seen("Running")) == [FOREVER]
    report = {f"default/{pod.name}": seen("Succeeded") for pod in pods(second)}
    assert not [job for job, mine in jobs(second) if is_open(job, ended(mine, report))]
    done = after(second, seen("Succeeded"), seen("Succeeded"))
    assert [(pod.name, pod.finished) for pod in pods(done)] == [(pod.name, True) for pod in pods(second)]
    assert [one["reason"] for one in conditions(done)] == ["CompletionsReached"]
    fewer, _ = deleted(done, ("pod", new.name))
    assert [pod.name for pod in pods(fewer)] == [old.name], "what is complete runs no more pods"


def test_a_failed_pod_has_a_successor_after_a_back_off() -> None:
    first = lab("backoffLimit: 2")
    assert wakes(first, seen("Running")) == [FOREVER]
    assert wakes(first, seen("Failed")) == [NOW + 10]
    assert after(first, seen("Failed")).pods == first.pods, "not yet"
    second = after(first, seen("Failed"), now=NOW + 10)
    assert [pod.document.get("status", {}).get("phase") for pod in pods(second)] == ["Failed", None]
    assert wakes(second, seen("Failed"), seen("Failed", finished=NOW + 12)) == [NOW + 32]
    third = after(second, seen("Failed"), seen("Failed", finished=NOW + 12), now=NOW + 32)
    assert conditions(third) == []
    over = after(third, *[seen("Failed")] * 3)
    (condition,) = conditions(over)
    assert (condition["type"], condition["reason"]) == ("Failed", "BackoffLimitExceeded")
    assert [pod.name for pod in pods(over)] == [pod.name for pod in pods(third)], (
        "what has failed stays, to be looked at"
    )
    assert [*jobs(over)] == []


def test_the_back_off_of_any_number_of_failures_has_an_end() -> None:
    ((job, _),) = jobs(lab("backoffLimit: 5000"))
    assert due(job, [], Ended(frozenset(), frozenset(map(str, range(2000))), last=NOW)) == NOW + 600


@pytest.mark.parametrize(("limit", "restarts"), [(0, 1), (1, 1), (3, 3)])
def test_restarts_count_on_failure(limit: int, restarts: int) -> None:
    first = lab(f"backoffLimit: {limit}", ON_FAILURE)
    assert wakes(first, seen("Running", restarts - 1)) == [FOREVER]
    over = after(first, seen("Running", restarts))
    assert [one["reason"] for one in conditions(over)] == ["BackoffLimitExceeded"]
    assert pods(over) == [], "its active pods are deleted"


def test_the_pods_of_an_indexed_job_have_each_index_until_it_succeeds() -> None:
    label = "batch.kubernetes.io/job-completion-index"
    first = lab("completions: 2\n  parallelism: 2\n  completionMode: Indexed")
    second = after(first, seen("Failed"), seen("Succeeded"), now=NOW + 10)
    assert [dict(pod.labels)[label] for pod in pods(second)] == ["0", "1", "0"]


def test_the_file_begins_no_job_again() -> None:
    for done in (
        after(lab("completions: 3"), seen("Succeeded")),
        after(lab("backoffLimit: 0", ON_FAILURE), seen("Running", 1)),
        after(lab("backoffLimit: 0"), seen("Failed")),
    ):
        spec = next(line for line in ("completions: 3", "backoffLimit: 0") if line.split(":")[0] in dump(done))
        policy = str(done.controllers[0].template.restart_policy)
        for new in (merge_status(lab(spec, policy), done), applied(done, text(spec, policy))[0]):
            assert (pods(new), conditions(new)) == (pods(done), conditions(done))
        other = merge_status(lab("completions: 7", policy), done)
        assert (len(pods(other)), conditions(other)) == (1, []), "another Job begins"
