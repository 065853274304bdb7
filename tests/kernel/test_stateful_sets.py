"""The pods of a StatefulSet come one after the other, on whatever nodes they are."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, TWO_NODES, OwnLab, kill, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

DB = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  podManagementPolicy: OrderedReady
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        command: [sleep, infinity]
        readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    made.write(TWO_NODES.replace("NAME", made.name))
    try:
        made.up()
        yield made
    finally:
        made.clear()


def runs(lab: OwnLab, number: int) -> bool:
    """Whether a process beside the pause process is in a pod's network namespace."""
    pids = subprocess.run(["ip", "netns", "pids", lab.ns(f"db-{number}")], capture_output=True, text=True)
    return len(pids.stdout.split()) > 1


def statuses(lab: OwnLab) -> list[str]:
    """The STATUS of the pods, in their order."""
    return [row["status"] for row in json.loads(nslab("ps", lab.name, "-o", "json").stdout)]


def apply(lab: OwnLab, text: str) -> None:
    done = nslab("apply", lab.name, "-f", "-", input=text)
    assert done.returncode == 0, done.stderr


def make_ready(lab: OwnLab, number: int) -> bool:
    return nslab("exec", f"{lab.name}/db-{number}", "--", "touch", "/tmp/ready").returncode == 0


def test_a_pod_is_made_when_the_one_before_is_ready(lab: OwnLab) -> None:
    apply(lab, DB)
    for number in (0, 1):
        until(lambda number=number: runs(lab, number))
        assert statuses(lab) == ["Running"] * (number + 1)
        assert lab.ns(f"db-{number + 1}") not in subprocess.check_output(["ip", "netns", "list"], text=True)
        assert make_ready(lab, number)
    until(lambda: runs(lab, 2))
    assert make_ready(lab, 2)
    apply(lab, DB.replace("replicas: 3", "replicas: 4"))
    until(lambda: runs(lab, 3))
    assert nslab("diff", lab.name).returncode == 0


def test_up_waits_for_all_of_them(lab: OwnLab) -> None:
    assert nslab("down", lab.name).returncode == 0
    lab.write(f"{TWO_NODES.replace('NAME', lab.name)}---\n{DB.replace('-e, /tmp/ready', '-e, /')}")
    up = nslab("up", lab.file)
    assert up.returncode == 0, up.stderr
    assert all(f"db-{number}" in up.stdout for number in range(3))
    assert statuses(lab) == ["Running"] * 3


LASTING = (
    "[sh, -c, 'trap \"until test -e /tmp/go; do sleep 0.1; done; exit\" TERM; touch /tmp/ready; sleep infinity & wait']"
)


def test_scaling_down_ends_the_last_pod_and_waits_for_it(lab: OwnLab) -> None:
    apply(lab, DB.replace("PeriodSeconds: 0", "PeriodSeconds: 30").replace("[sleep, infinity]", LASTING))
    until(lambda: nslab("get", lab.name, "sts/db", "-o", "jsonpath={.status.readyReplicas}").stdout == "3")
    assert nslab("scale", lab.name, "sts/db", "--replicas", "1").returncode == 0
    for number in (2, 1):
        until(lambda number=number: statuses(lab) == ["Running"] * number + ["Terminating"])
        assert nslab("exec", f"{lab.name}/db-{number}", "--", "touch", "/tmp/go").returncode == 0
    until(lambda: statuses(lab) == ["Running"])
    assert nslab("diff", lab.name).returncode == 0


def test_pods_start_together_in_parallel(lab: OwnLab) -> None:
    apply(lab, DB.replace("OrderedReady", "Parallel"))
    until(lambda: all(runs(lab, number) for number in range(3)))


def test_a_node_whose_process_was_killed_goes_on_to_wait(lab: OwnLab) -> None:
    apply(lab, DB)
    until(lambda: runs(lab, 0))
    for node in ("n1", "n2"):
        kill(lab.pids()[f"{node} node"])
    lab.write(f"{TWO_NODES.replace('NAME', lab.name)}---\n{DB}")
    with subprocess.Popen([*NSLAB, "up", lab.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as up:
        until(lambda: {"n1 node", "n2 node"} <= lab.pids().keys())
        for number in range(3):
            until(lambda number=number: runs(lab, number))
            assert statuses(lab)[number + 1 :] == []
            until(lambda number=number: make_ready(lab, number))
        output, _ = up.communicate(timeout=60)
    assert up.returncode == 0, output
