"""Why a pod is not ready: its conditions, one line about it, and its events."""

from __future__ import annotations

from typing import Any

import pytest

from nslab.api import tables
from nslab.views.conditions import conditions, why_not_ready
from nslab.views.describe import describe
from nslab.views.events import event
from nslab.views.listing import Listing

NOW = 1_700_000_000.0
READY = {"name": "web", "ready": True, "started": True, "state": {"running": {}}, "restartCount": 0, "lastState": {}}
UNREADY = {**READY, "ready": False}
ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}
BACK_OFF = {
    **UNREADY,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=web"}},
    "lastState": ENDED,
}
FAILED = {**UNREADY, "state": ENDED}
INIT = {"name": "init", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
LATER = {**UNREADY, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}


def pod(
    *containers: dict[str, Any],
    phase: str = "Running",
    init: tuple[dict[str, Any], ...] = (),
    spec: tuple[str, ...] = (),
) -> dict[str, Any]:
    status = {"phase": phase, "containerStatuses": [*containers], "initContainerStatuses": [*init]}
    names = {
        "containers": [{"name": name} for name in spec or [one["name"] for one in containers]],
        "initContainers": [*({"name": "init"},) * len(init)],
    }
    made = {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": names,
        "status": status,
    }
    return {**made, "status": {**status, "conditions": conditions(made, sandbox=True)}}


def conditions_of(one: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    found = one["status"]["conditions"]
    return {each["type"]: (each["status"], each.get("reason", ""), each.get("message", "")) for each in found}


@pytest.mark.parametrize(
    ("one", "ready"),
    [
        (pod(READY), ("True", "", "")),
        (pod(READY, UNREADY), ("False", "ContainersNotReady", "containers with unready status: [web]")),
        (pod(phase="Pending", spec=("web",)), ("False", "ContainersNotReady", "containers with unknown status: [web]")),
        (pod(FAILED, phase="Failed"), ("False", "PodFailed", "")),
        (pod(FAILED, phase="Succeeded"), ("False", "PodCompleted", "")),
        (
            pod(LATER, init=(INIT,), phase="Pending"),
            ("False", "ContainersNotReady", "containers with unready status: [web]"),
        ),
    ],
)
def test_the_conditions_name_their_reasons(one: dict[str, Any], ready: tuple[str, str, str]) -> None:
    found = conditions_of(one)
    assert found["Ready"] == found["ContainersReady"] == ready
    assert found["PodScheduled"] == found["PodReadyToStartContainers"] == ("True", "", "")


def test_a_pod_that_initializes_names_the_init_container() -> None:
    found = conditions_of(pod(LATER, init=(INIT,), phase="Pending"))
    message = "containers with incomplete status: [init]"
    assert found["Initialized"] == ("False", "ContainersNotInitialized", message)
    done = {**INIT, "state": {"terminated": {"exitCode": 0}}}
    assert conditions_of(pod(READY, init=(done,)))["Initialized"] == ("True", "", "")


@pytest.mark.parametrize(
    ("one", "message", "why"),
    [
        (pod(READY), "", ""),
        (pod(FAILED, phase="Succeeded"), "", ""),
        (pod(UNREADY), "Readiness probe failed: no", "web: Readiness probe failed: no"),
        (pod(UNREADY), "", "web: it is not ready yet"),
        (pod(phase="Pending", spec=("web",)), "", "its containers are not created yet"),
        (pod(BACK_OFF), "", "web: Error, exit code 3; back-off 10s"),
        (pod(FAILED, phase="Failed"), "", "web: Error, exit code 3"),
        (pod(LATER, init=(INIT,), phase="Pending"), "", "init: ContainerCreating"),
    ],
)
def test_one_line_about_it(one: dict[str, Any], message: str, why: str) -> None:
    assert why_not_ready(one, {"containers": {"web": {"message": message}}}) == why


def unhealthy(count: int, **more: Any) -> dict[str, Any]:
    record = {"namespace": "default", "pod": "p", "uid": "u", "path": "spec.containers{web}", "reason": "Unhealthy"}
    record |= {"message": "Readiness probe failed: \x1b[2J", "first": NOW - 90, "last": NOW - 5, "count": count}
    return event("n1", {**record, **more})


def test_describe_prints_events_as_kubectl_does() -> None:
    scheduled = unhealthy(
        1, reason="Scheduled", message="Successfully assigned default/p to n1", path="", last=NOW - 90
    )
    others = unhealthy(1, uid="an earlier pod of the name")
    text = describe(pod(UNREADY), [unhealthy(3), scheduled, others], NOW)
    assert text.splitlines()[-5:] == [
        "Events:",
        "  Type     Reason     Age               From               Message",
        "  ----     ------     ----              ----               -------",
        "  Normal   Scheduled  90s               default-scheduler  Successfully assigned default/p to n1",
        "  Warning  Unhealthy  5s (x3 over 90s)  kubelet            spec.containers{web}: Readiness probe failed: ?[2J",
    ]
    assert describe(pod(READY), [others], NOW).splitlines()[-1].split() == ["Events:", "<none>"]


def test_describe_prints_a_state_as_kubectl_does() -> None:
    lines = [line.split(":", 1) for line in describe(pod(BACK_OFF), [], NOW).splitlines() if ":" in line]
    found = [(name.rstrip(), value.strip()) for name, value in lines]
    start = found.index(("    State", "Waiting"))
    assert found[start : start + 5] == [
        ("    State", "Waiting"),
        ("      Reason", "CrashLoopBackOff"),
        ("      Message", "back-off 10s restarting failed container=web"),
        ("    Last State", "Terminated"),
        ("      Reason", "Error"),
    ]


def test_events_in_kubectls_columns() -> None:
    assert tables.row(unhealthy(3), NOW, wide=True) == {
        "LAST SEEN": "5s", "TYPE": "Warning", "REASON": "Unhealthy", "OBJECT": "pod/p",
        "SUBOBJECT": "spec.containers{web}", "SOURCE": "kubelet, n1", "MESSAGE": "Readiness probe failed: \x1b[2J",
        "FIRST SEEN": "90s", "COUNT": "3", "NAME": unhealthy(3)["metadata"]["name"],
    }  # fmt: skip
    listing = Listing()
    head = listing.text([unhealthy(3)], NOW).split("\n")[0]
    assert " ".join(head.split()) == "LAST SEEN TYPE REASON OBJECT MESSAGE"
    assert listing.changed([unhealthy(3)], NOW + 60) == [], "time alone is no change"
