"""Pods that go: SIGTERM, time to end, endpoints that serve meanwhile, and then nothing that is left of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from nslab.linux.netns import Namespaces
from tests.kernel.labkit import RUN, nslab

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.pytest_plugin.running import RunningLab

LAB = """
apiVersion: nslab/v1
kind: Lab
metadata: {name: terminating}
spec: {cni: {plugin: calico, encapsulation: None}, nodes: [{name: node1}, {name: node2}], clients: [{name: client}]}
---
apiVersion: v1
kind: Pod
metadata: {name: box}
spec: {nodeName: node2, containers: [{name: c, command: [sleep, infinity]}], terminationGracePeriodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: slow}
spec: {clusterIP: 10.96.4.1, selector: {app: slow}, ports: [{port: 80, targetPort: 8080}]}
"""
SLOW = """
apiVersion: v1
kind: Pod
metadata: {name: slow, labels: {app: slow}}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 30
  containers:
  - name: server
    image: agnhost
    args: [netexec, --http-port=8080]
    ports: [{containerPort: 8080}]
    lifecycle: {preStop: {exec: {command: [sh, -c, "while ! [ -e /tmp/end ]; do sleep .05; done"]}}}
"""
SHORT = SLOW.replace("Seconds: 30", "Seconds: 2")
SPEAKER = """
apiVersion: v1
kind: Pod
metadata: {name: speaker}
spec:
  nodeName: node1
  containers:
  - name: c
    command: [bash, -c, "trap 'echo bye > /dev/udp/192.168.59.10/7777; exit 0' TERM; while :; do sleep 0.05; done"]
"""

pytestmark = [pytest.mark.root, pytest.mark.lab(LAB, scope="module")]


def row(lab: RunningLab, pod: str) -> dict[str, str]:
    rows = json.loads(nslab("ps", lab.name, "-o", "json").stdout)
    return next((one for one in rows if one["name"] == pod), {})


def test_a_pod_is_told_to_end(lab: RunningLab) -> None:
    lab.apply(SPEAKER)
    with Namespaces() as spaces:
        spaces.enter(lab.client().netns)
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        heard.bind(("", 7777))
    heard.settimeout(10)
    assert nslab("delete", lab.name, "pod/speaker").stdout == 'pod "speaker" deleted\n'
    assert heard.recv(100) == b"bye\n"
    heard.close()
    assert row(lab, "speaker") == {}
    assert lab.diff() == []


def test_its_endpoint_serves_until_it_has_ended(lab: RunningLab) -> None:
    """KEP-1669: of those that terminate, kube-proxy takes what serves where nobody else is ready."""
    lab.apply(SLOW)
    began = time.monotonic()
    lab.delete("pod/slow", wait=False)
    assert time.monotonic() - began < 15
    assert row(lab, "slow")["status"] == "Terminating"
    rules = lab.sh("node2", "iptables-save -t nat | grep default/slow")
    assert "KUBE-SEP" in rules
    assert lab.pod("box").http("http://10.96.4.1/hostname").text == "slow"
    assert lab.diff() == []
    assert lab.probe()
    done = nslab("exec", f"{lab.name}/slow", "--", "touch", "/tmp/end")
    assert done.returncode == 0, done.stderr
    lab.wait(lambda: row(lab, "slow") == {})
    assert "KUBE-SEP" not in lab.sh("node2", "iptables-save -t nat | grep default/slow; true")
    lab.wait(lambda: not (RUN / lab.name / "ns" / f"nslab.{lab.name}.slow").exists())
    assert lab.diff() == []


def test_who_does_not_end_is_killed(lab: RunningLab) -> None:
    lab.apply(SPEAKER.replace("speaker", "deaf").replace("trap '", "trap '' TERM; : '"))
    began = time.monotonic()
    lab.delete("pod/deaf", grace=1)
    assert 1 <= time.monotonic() - began < 10
    assert "deaf container/c" not in lab.processes()
    assert lab.diff() == []


def test_what_is_replaced_ends_first(lab: RunningLab, tmp_path: Path) -> None:
    beside = "  - {name: beside, command: [sleep, infinity]}\n"
    lab.apply(SPEAKER + beside)
    before = lab.processes()
    assert lab.apply(SPEAKER.replace("sleep 0.05", "sleep 0.04") + beside) == ["pod/speaker configured"]
    assert row(lab, "speaker")["status"] == "Running"
    after = lab.processes()
    assert before["speaker container/c"] != after["speaker container/c"]
    assert before["speaker container/beside"] == after["speaker container/beside"]
    assert lab.diff() == []
    lab.delete("pod/speaker", grace=1)


def test_a_name_is_free_when_its_pod_has_ended(lab: RunningLab) -> None:
    lab.apply(SHORT)
    lab.delete("pod/slow", wait=False)
    lab.apply(SLOW)
    assert row(lab, "slow")["status"] == "Running"
    assert lab.pod("box").http("http://10.96.4.1/hostname").text == "slow"
    nslab("exec", f"{lab.name}/slow", "--", "touch", "/tmp/end")
    lab.delete("pod/slow")
    assert lab.diff() == []


def test_up_leaves_nothing_terminating(lab: RunningLab) -> None:
    lab.apply(SLOW)
    lab.delete("pod/slow", wait=False)
    lab.mend()
    assert row(lab, "slow") == {}
    assert lab.diff() == []


def test_a_dead_kubelets_successor_goes_on(lab: RunningLab) -> None:
    lab.apply(SHORT)
    lab.delete("pod/slow", wait=False)
    os.kill(lab.processes()["node1 node"], signal.SIGKILL)
    lab.wait(lambda: row(lab, "slow") == {}, timeout=30)
    lab.mend()
    assert lab.diff() == []


def test_an_address_that_was_given_back_comes_last(lab: RunningLab) -> None:
    given = []
    for number in range(3):
        lab.apply(SPEAKER.replace("speaker", f"p{number}"))
        given.append(lab.pod(f"p{number}").address)
        lab.delete(f"pod/p{number}")
    assert given == sorted({*given})
