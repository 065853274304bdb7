"""What `nslab ps LAB` shows, in kubectl's words."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from nslab.api import tables
from nslab.api.duration import duration
from nslab.api.pod_types import Container, Pod
from nslab.views.pods import columns, container_status, live_pod, pod_row, why_absent

NOW = 1000.0


def entry(state: str = "running", reason: str = "", restarts: int = 0, *, ready: bool | None = None) -> dict[str, Any]:
    """What a node reports of a container."""
    is_ready = state == "running" if ready is None else ready
    last = {"last": {"reason": "Error", "exit_code": 1, "finished": 970.0}} if restarts else {}
    code = {"Completed": 0, "Error": 1}.get(reason)
    return {"ready": is_ready, "restarts": restarts, "state": state, "reason": reason, "exit_code": code, **last}


def web(names: str = "a", sidecars: str = "", **fields: Any) -> Pod:
    """A pod with containers, and with init containers that are sidecars."""
    init = [{"name": name, "restartPolicy": "Always"} for name in sidecars]
    return Pod(
        "web",
        "node1",
        tuple(Container(name) for name in names),
        assigned=IPv4Address("20.96.0.7"),
        init=tuple(Container(name, sidecar=True) for name in sidecars),
        document={"spec": {"containers": [{"name": name} for name in names], "initContainers": init}},
        **fields,
    )


def row(phase: str, *entries: dict[str, Any], pause: bool = True, runs: str = "abc", **fields: Any) -> str:
    """READY, STATUS and RESTARTS of a pod with containers a, b, c."""
    pod = web("abc"[: len(entries)], **fields)
    report = {"phase": phase, "containers": dict(zip("abc", entries, strict=False))}
    return shown(live_pod(pod, report, [*runs], 958.0 if pause else None))


def shown(pod: dict[str, Any]) -> str:
    (seen,) = columns([pod_row(pod, NOW)])
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


def test_a_container_without_a_process_does_not_run_whatever_was_reported() -> None:
    assert row("Running", entry(), pause=False) == "0/1 NotRunning 0"
    assert row("Running", CRASH, pause=False) == "0/1 NotRunning 4 (30s ago)"
    assert row("Running", entry(), entry(), runs="a") == "1/2 NotRunning 0"


@pytest.mark.parametrize(
    ("text", "phase", "reported"),
    [("1/1 Terminating 0", "Running", entry()), ("0/1 Completed 0", "Succeeded", DONE)],
)
def test_a_pod_that_is_deleted_is_terminating_unless_it_has_finished(
    text: str, phase: str, reported: dict[str, Any]
) -> None:
    assert row(phase, reported, deletion=2000.0) == text


def test_get_and_ps_have_one_word() -> None:
    for phase, reported in (("Running", CRASH), ("Succeeded", DONE), ("Running", entry()), ("Pending", entry())):
        for created in (958.0, None):
            pod = live_pod(web(), {"phase": phase, "containers": {"a": reported}}, "a", created)
            cells = tables.row({"kind": "Pod", **pod}, NOW)
            assert f"{cells['READY']} {cells['STATUS']} {cells['RESTARTS']}" == shown(pod)


def test_the_phase_is_the_nodes() -> None:
    lost = live_pod(web(), {"phase": "Running", "containers": {"a": entry()}}, "", 958.0)
    assert (lost["status"]["phase"], shown(lost)) == ("Running", "0/1 NotRunning 0")


@pytest.mark.parametrize(
    ("text", "phase", "main", "sidecar"),
    [
        ("2/2 Running 0", "Running", entry(), entry()),
        ("1/2 Running 2 (30s ago)", "Running", entry(), entry("waiting", "CrashLoopBackOff", 2)),
        ("0/2 Init:0/1 0", "Pending", entry("waiting", "PodInitializing"), {**entry(), "starting": True}),
        ("0/2 Init:CrashLoopBackOff 2 (30s ago)", "Pending",
         entry("waiting", "PodInitializing"), entry("waiting", "CrashLoopBackOff", 2)),
        ("0/2 Error 0", "Failed", entry("terminated", "Error"), entry("terminated", "Error")),
    ],
)  # fmt: skip
def test_sidecars_count_as_containers(text: str, phase: str, main: dict[str, Any], sidecar: dict[str, Any]) -> None:
    report = {"phase": phase, "containers": {"a": main, "s": {**sidecar, "ready": text[0] == "2"}}}
    assert shown(live_pod(web("a", sidecars="s"), report, "as", 958.0)) == text


def test_a_node_that_has_not_reported_yet() -> None:
    seen = pod_row(live_pod(web(), {}, [], 998.5), NOW)
    assert (seen["ready"], seen["readyContainers"], seen["containers"]) == (False, 0, 1)
    assert (seen["status"], seen["restarts"], seen["ageSeconds"]) == ("ContainerCreating", 0, 2)


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
        pod_row(live_pod(web(namespace=namespace), {}, [], None), NOW) for namespace in ("default", "kube-system")
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
