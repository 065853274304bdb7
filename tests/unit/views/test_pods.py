"""What `nslab ps LAB` shows, in kubectl's words."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from nslab.api.duration import duration
from nslab.lab.types import Container, Pod
from nslab.views.pods import columns, container_status, pod_row, why_absent


def entry(state: str = "running", reason: str = "", restarts: int = 0, *, ready: bool | None = None) -> dict[str, Any]:
    """What a node says of a container."""
    is_ready = state == "running" if ready is None else ready
    return {"ready": is_ready, "restarts": restarts, "state": state, "reason": reason, "finished": 970.0}


def row(phase: str, *entries: dict[str, Any], pause: bool = True, runs: str = "abc", age: float = 42.0) -> str:
    """READY, STATUS and RESTARTS of a pod with containers a, b, c."""
    names = "abc"[: len(entries)]
    pod = Pod("web", "node1", tuple(Container(name) for name in names), assigned=IPv4Address("20.96.0.7"))
    status = {"phase": phase, "containers": dict(zip(names, entries, strict=True))}
    (seen,) = columns([pod_row(pod, status, list(runs), pause=pause, age=age, now=1000.0)])
    return f"{seen['ready']} {seen['status']} {seen['restarts']}"


CRASH = entry("waiting", "CrashLoopBackOff", 4)
DONE = entry("terminated", "Completed")


@pytest.mark.parametrize(
    ("shown", "phase", "entries"),
    [
        ("1/1 Running 0", "Running", [entry()]),
        ("0/1 Running 0", "Running", [entry(ready=False)]),
        ("1/2 Running 0", "Running", [entry(), entry(ready=False)]),
        ("0/1 CrashLoopBackOff 4 (30s ago)", "Running", [CRASH]),
        ("1/2 CrashLoopBackOff 4 (30s ago)", "Running", [entry(), CRASH]),
        ("0/1 Completed 0", "Succeeded", [DONE]),
        ("1/2 NotReady 0", "Running", [DONE, entry()]),
        ("0/1 Error 0", "Failed", [entry("terminated", "Error")]),
        ("0/2 Error 4 (30s ago)", "Running", [entry("terminated", "Error"), CRASH]),
        ("2/2 Running 3 (30s ago)", "Running", [entry(restarts=1), entry(restarts=2)]),
        ("0/1 ContainerCreating 0", "Pending", [entry("waiting", "ContainerCreating")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod(shown: str, phase: str, entries: list[dict[str, Any]]) -> None:
    assert row(phase, *entries) == shown


def test_what_is_not_there_does_not_run_whatever_was_said() -> None:
    assert row("Running", entry(), pause=False) == "0/1 NotRunning 0"
    assert row("Running", entry(), entry(), runs="a") == "1/2 NotRunning 0"


def test_a_node_that_said_nothing_yet() -> None:
    pod = Pod("web", "node1", (Container("a"),), assigned=IPv4Address("20.96.0.7"))
    seen = pod_row(pod, {}, [], pause=True, age=1.0, now=0.0)
    assert (seen["ready"], seen["readyContainers"], seen["containers"]) == (False, 0, 1)
    assert (seen["status"], seen["restarts"], seen["ageSeconds"]) == ("ContainerCreating", 0, 1)


OOM = {"reason": "OOMKilled", "exit_code": 137, "started": 0.4, "finished": 86400.0}
STARTED_NOT = {"reason": "StartError", "exit_code": 127, "message": "exec x: No such file or directory"}


@pytest.mark.parametrize(
    ("output", "state", "last"),
    [
        (
            {**CRASH, "last": OOM},
            {"waiting": {"reason": "CrashLoopBackOff"}},
            {"terminated": {
                "exitCode": 137, "reason": "OOMKilled",
                "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "1970-01-02T00:00:00Z",
            }},
        ),
        (
            {**entry(restarts=1), "started": 60.0, "last": STARTED_NOT},
            {"running": {"startedAt": "1970-01-01T00:01:00Z"}},
            {"terminated": {"exitCode": 127, "reason": "StartError", "message": STARTED_NOT["message"]}},
        ),
        (
            {**DONE, "exit_code": 0, "started": 1.0, "finished": 2.0},
            {"terminated": {
                "exitCode": 0, "reason": "Completed",
                "startedAt": "1970-01-01T00:00:01Z", "finishedAt": "1970-01-01T00:00:02Z",
            }},
            {},
        ),
        (entry("waiting", "ContainerCreating"), {"waiting": {"reason": "ContainerCreating"}}, {}),
    ],
)  # fmt: skip
def test_a_container_as_the_api_has_it(output: dict[str, Any], state: dict[str, Any], last: dict[str, Any]) -> None:
    assert container_status("app", output) == {
        "name": "app", "ready": output["ready"], "restartCount": output["restarts"], "started": "running" in state,
        "state": state, "lastState": last,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ({**CRASH, "last": OOM}, "it ended (OOMKilled; exit code 137), and is started again after a back-off"),
        (
            {**CRASH, "last": STARTED_NOT},
            f"it ended (StartError: {STARTED_NOT['message']}; exit code 127), and is started again after a back-off",
        ),
        ({**DONE, "exit_code": 0}, "it ended (Completed; exit code 0), and is not started again"),
        (entry("waiting", "ContainerCreating"), "it is just being started"),
        (entry(), ""),
    ],
)
def test_why_a_container_does_not_run(output: dict[str, Any], why: str) -> None:
    assert why_absent(output) == why


def test_the_namespace_is_shown_when_it_says_something() -> None:
    default, system = (
        pod_row(Pod("a", "node1", (Container("a"),), namespace=namespace), {}, [], pause=False, age=0.0, now=0.0)
        for namespace in ("default", "kube-system")
    )
    assert [*columns([default])[0]] == ["name", "ready", "status", "restarts", "age", "ip", "node"]
    assert [row["namespace"] for row in columns([default, system])] == ["default", "kube-system"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (-3, "0s"), (119.9, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (11000, "3h3m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
        (180000, "2d2h"), (691200, "8d"), (8640000, "100d"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text
