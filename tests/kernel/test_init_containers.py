"""Init containers, one after the other, each to its end; sidecars, which start before the rest and end after it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import NSLAB, ROOT, kill, nslab, until

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

LAB = """
apiVersion: nslab/v1
kind: Lab
metadata: {name: initial}
spec: {cni: {plugin: calico, encapsulation: None}, nodes: [{name: node1}]}
"""
ORDERED = """
apiVersion: v1
kind: Pod
metadata: {name: ordered}
spec:
  shareProcessNamespace: true
  initContainers:
  - {name: first, command: [sh, -c, "while ! [ -e /tmp/go ]; do sleep .02; done"]}
  - name: side
    restartPolicy: Always
    command: [sh, -c, "trap 'date +%s%N; exit 0' TERM; echo begun; while :; do sleep .02; done"]
  - {name: second, image: somebody/migrations}
  containers:
  - {name: main, command: [sh, -c, "trap 'sleep .3; date +%s%N; exit 0' TERM; echo begun; while :; do sleep .02; done"]}
"""
FAILING = """
apiVersion: v1
kind: Pod
metadata: {name: failing}
spec:
  restartPolicy: %s
  initContainers: [{name: first, command: [sh, -c, exit 3]}]
  containers: [{name: main, command: [sleep, infinity]}]
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers: [{name: side, restartPolicy: Always, command: [sleep, infinity]}]
      terminationGracePeriodSeconds: 1
      containers: [{name: main, command: ["true"]}]
"""

pytestmark = [pytest.mark.root, pytest.mark.lab(LAB, scope="module")]


def row(lab: RunningLab, pod: str) -> dict[str, Any]:
    rows = json.loads(nslab("ps", lab.name, "-o", "json").stdout)
    return next((one for one in rows if one["name"].startswith(pod)), {})


def parts(lab: RunningLab, pod: str) -> set[str]:
    return {name.partition("container/")[2] for name in lab.processes() if name.startswith(f"{pod} container/")}


def test_one_after_the_other(lab: RunningLab) -> None:
    lab.apply(ORDERED, wait=False)
    until(lambda: parts(lab, "ordered") == {"first"})
    seen = row(lab, "ordered")
    assert (seen["status"], seen["readyContainers"], seen["containers"]) == ("Init:0/3", 0, 2)
    assert nslab("get", lab.name, "pod/ordered").stdout.split()[7] == "Init:0/3"
    assert lab.diff() == []
    done = nslab("exec", f"{lab.name}/ordered", "-c", "first", "--", "touch", "/tmp/go")
    assert done.returncode == 0, done.stderr
    until(lambda: row(lab, "ordered")["status"] == "Running")
    assert (parts(lab, "ordered"), row(lab, "ordered")["readyContainers"]) == ({"side", "main"}, 2)
    assert lab.diff() == []


def test_a_dead_kubelets_successor_runs_none_again(lab: RunningLab) -> None:
    before = {name: pid for name, pid in lab.processes().items() if name.startswith("ordered ")}
    kill(lab.processes()["node1 node"])
    lab.mend()
    assert {name: pid for name, pid in lab.processes().items() if name.startswith("ordered ")} == before
    assert lab.diff() == []


def test_a_sidecar_ends_last(lab: RunningLab) -> None:
    lab.apply(ORDERED.replace("name: ordered", "name: ending").replace("! [ -e /tmp/go ]", "false"))
    logs = [followed(lab, name) for name in ("main", "side")]
    assert [process.stdout and process.stdout.readline() for process in logs] == ["begun\n"] * 2
    lab.delete("pod/ending")
    main, side = (int(process.communicate(timeout=20)[0]) for process in logs)
    assert main < side


def followed(lab: RunningLab, container: str) -> subprocess.Popen[str]:
    argv = [*NSLAB, "logs", "-f", f"{lab.name}/ending", "-c", container]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_who_fails_is_started_again_as_the_pod_says(lab: RunningLab) -> None:
    lab.apply(FAILING % "Always", wait=False)
    until(lambda: row(lab, "failing")["status"] == "Init:CrashLoopBackOff")
    lab.delete("pod/failing")
    lab.apply(FAILING % "Never", wait=False)
    until(lambda: row(lab, "failing")["status"] == "Init:Error")
    assert parts(lab, "failing") == set()
    assert lab.diff() == []


def test_a_jobs_sidecar_ends_with_it(lab: RunningLab) -> None:
    lab.apply(JOB, wait=False)
    until(lambda: row(lab, "job-")["status"] == "Completed")
    until(lambda: parts(lab, row(lab, "job-")["name"]) == set())
    assert lab.diff() == []
