"""A pod that no node admits: Pending, with the scheduler's words, until a node has the label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import TWO_NODES, OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: picky}
spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: pause}]}
"""
MESSAGE = (
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
    "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    made.write(TWO_NODES.replace("NAME", made.name) + POD)
    try:
        yield made
    finally:
        made.clear()


def test_up_says_why_it_is_pending(lab: OwnLab) -> None:
    done = nslab("up", lab.file)
    assert done.returncode == 1
    assert f"nslab: picky in default is Pending: {MESSAGE}\n" in done.stderr
    assert not [line for line in lab.pids() if "picky" in line]
    head, row = nslab("get", lab.name, "pods", "-o", "wide").stdout.splitlines()
    assert row.split()[:4] == ["picky", "0/1", "Pending", "0"]
    assert [row[head.index(name) :].split()[0] for name in ("IP", "NODE ")] == ["<none>"] * 2
    (found,) = json.loads(nslab("get", lab.name, "pods", "-o", "json").stdout)["items"]
    assert found["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": MESSAGE}
    ]
    assert "nodeName" not in found["spec"]
    lines = [" ".join(line.split()) for line in nslab("describe", lab.name, "pod/picky").stdout.splitlines()]
    assert "Node: <none>" in lines
    assert any(line.startswith("Warning FailedScheduling ") and line.endswith(MESSAGE) for line in lines)
    shown = nslab("ps", lab.name)
    assert "picky is not ready: 0/2 nodes are available" in shown.stdout + shown.stderr
    assert lab.differences() == []


def test_a_node_with_the_label_takes_it(lab: OwnLab) -> None:
    lab.edit("{name: n2}", "{name: n2, labels: {disk: ssd}}")
    lab.up()
    (found,) = json.loads(nslab("get", lab.name, "pods", "-o", "json").stdout)["items"]
    assert (found["spec"]["nodeName"], found["status"]["phase"]) == ("n2", "Running")
    assert any("picky" in line for line in lab.pids())


def test_a_template_that_no_node_admits_leaves_the_old_pods(lab: OwnLab) -> None:
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 2\n"
        "  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n"
        "    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, command: [sleep, inf]}]}\n"
    )
    assert nslab("apply", lab.name, "-f", "-", "--wait", input=deployment).returncode == 0
    picky = deployment.replace("containers:", "nodeSelector: {gpu: a}, containers:")
    assert nslab("apply", lab.name, "-f", "-", input=picky).returncode == 0
    statuses = [line.split()[2] for line in nslab("get", lab.name, "pods", "-l", "a=b").stdout.splitlines()[1:]]
    assert sorted(statuses) == ["Pending", "Running", "Running"]
    assert nslab("apply", lab.name, "-f", "-", "--wait", input=deployment).returncode == 0
    statuses = [line.split()[2] for line in nslab("get", lab.name, "pods", "-l", "a=b").stdout.splitlines()[1:]]
    assert statuses == ["Running", "Running"]
