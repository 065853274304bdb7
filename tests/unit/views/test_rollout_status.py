"""How far a rollout is: the status of controllers, and kubectl's line about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.change import applied
from nslab.admission.load import parse
from nslab.compiler.placement import assign_addresses
from nslab.controllers.controlled import stepped
from nslab.lab.status import merge_status
from nslab.views.describe import describe
from nslab.views.live import Live, objects
from nslab.views.pods import live_pod
from nslab.views.rollout_status import rollout_status
from tests.unit.lab.test_rollout import LAB, NOW, all_ready, text

if TYPE_CHECKING:
    from nslab.lab.types import Lab

RUNNING = {"state": "running", "restarts": 0, "reason": "", "exit_code": None, "started": NOW, "finished": 0.0}


def rolled(kind: str, strategy: str = "") -> Lab:
    """A lab in the first step of a rollout."""
    lab = assign_addresses(parse(LAB + text(kind, "one", strategy), "x"))
    made = merge_status(applied(lab, text(kind, "two", strategy))[0], lab)
    return assign_addresses(stepped(made, lab, all_ready(lab), NOW))


def shown(lab: Lab, *ready: str) -> list[dict[str, Any]]:
    """The lab's objects; the pods that were made from one of `ready` are."""
    pods = {}
    for pod in lab.pods:
        is_ready = pod.containers[0].command[1] in ready
        container = {**RUNNING, "ready": is_ready}
        report = {"phase": "Running", "containers": {"c": container}, **({"since": NOW} if is_ready else {})}
        pods[f"{pod.namespace}/{pod.name}"] = live_pod(pod, report, ["c"], NOW)
    return objects(lab, Live(pods, frozenset("abc"), NOW))


def one(there: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(each for each in there if each["kind"] == kind)


def test_a_deployment_on_its_way() -> None:
    there = shown(rolled("Deployment"), "one")
    deployment = one(there, "Deployment")
    status = deployment["status"]
    assert {name: number for name, number in status.items() if name != "conditions"} == {
        "replicas": 5, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 2, "unavailableReplicas": 2
    }  # fmt: skip
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [
        ("Available", "True"), ("Progressing", "False")
    ]  # fmt: skip
    assert status["conditions"][1]["reason"] == "ProgressDeadlineExceeded", "it began in 1970"
    line = 'error: deployment "web" exceeded its progress deadline'
    assert rollout_status(deployment) == (line, False)
    deployment["status"]["conditions"] = []
    line = 'Waiting for deployment "web" rollout to finish: 2 out of 4 new replicas have been updated...'
    assert rollout_status(deployment) == (line, False)
    sets = [each for each in there if each["kind"] == "ReplicaSet"]
    assert [(each["spec"]["replicas"], each["status"].get("readyReplicas", 0)) for each in sets] == [(3, 3), (2, 0)]
    assert deployment["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "2"}
    lines = [" ".join(line.split()) for line in describe(deployment, there, NOW).splitlines()]
    assert "Replicas: 4 desired | 2 updated | 5 total | 3 available | 2 unavailable" in lines
    assert "RollingUpdateStrategy: 25% max unavailable, 25% max surge" in lines
    names = [each["metadata"]["name"] for each in sets]
    assert f"OldReplicaSets: {names[0]} (3/3 replicas created)" in lines
    assert f"NewReplicaSet: {names[1]} (2/2 replicas created)" in lines


def test_a_deployment_that_is_through() -> None:
    lab = assign_addresses(parse(LAB + text("Deployment", "one"), "x"))
    deployment = one(shown(lab, "one"), "Deployment")
    assert [each["reason"] for each in deployment["status"]["conditions"]] == [
        "MinimumReplicasAvailable", "NewReplicaSetAvailable"
    ]  # fmt: skip
    assert rollout_status(deployment) == ('deployment "web" successfully rolled out', True)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("StatefulSet", "Waiting for 1 pods to be ready..."),
        ("DaemonSet", 'Waiting for daemon set "web" rollout to finish: 0 out of 3 new pods have been updated...'),
    ],
)
def test_sets_on_their_way(kind: str, line: str) -> None:
    assert rollout_status(one(shown(rolled(kind), "one"), kind)) == (line, False)


def test_a_partition_that_is_through() -> None:
    lab = rolled("StatefulSet", "updateStrategy: {rollingUpdate: {partition: 4}}")
    found = one(shown(lab, "one"), "StatefulSet")
    assert found["status"]["currentRevision"] != found["status"]["updateRevision"]
    assert rollout_status(found) == ("partitioned roll out complete: 0 new pods have been updated...", True)
