"""When `up`, `set`, `apply` or the fixture have returned, kube-proxies write no more: what one breaks stays broken.

With NSLAB_SLOW set, 200 times each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nslab.app import change
from nslab.app.drift import drift_of
from nslab.linux.processes.control import ControlClient
from nslab.pytest_plugin.labs import Labs
from tests.kernel.labkit import OwnLab, kill, pids, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nslab.pytest_plugin.running import RunningLab

ROUNDS = range(200 if os.environ.get("NSLAB_SLOW") else 4)
NODES = ("node1", "node2")
BREAK = {"iptables": "iptables -t nat -F KUBE-SERVICES", "nftables": "nft flush chain ip kube-proxy services"}
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: late}}
spec: {{clusterIP: 10.103.9.117, selector: {{app: web}}, ports: [{{port: {}}}]}}
"""

DONE = """
---
apiVersion: v1
kind: Pod
metadata: {name: done, labels: {app: works}}
spec: {nodeName: node1, restartPolicy: Never, containers: [{name: app, command: ["true"]}]}
"""
"""A pod that is never ready."""
WORKS = """
---
apiVersion: v1
kind: Pod
metadata: {name: works, labels: {app: works}}
spec:
  nodeName: node2
  containers: [{name: app, image: agnhost, args: [netexec], ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: works}
spec: {clusterIP: 10.103.9.117, selector: {app: works}, ports: [{port: 8080}]}
"""
"""A Service with one endpoint, and with it that pod another."""


def undone(name: str, sh: Callable[[str, str], str], number: int, mode: str = "iptables") -> bool:
    """Break a node's rules; whether they are whole again when every kube-proxy has written all that it knew."""
    sh(NODES[number % len(NODES)], BREAK[mode])
    with ControlClient(name) as line:
        until(lambda: _is_idle(line))
    return not drift_of(name).plan


def _is_idle(line: ControlClient) -> bool:
    known = line.get()
    written = [proxy.get("generation") for proxy in known["proxies"].values()]
    return written == [known["generation"]] * len(NODES)


@pytest.mark.parametrize("mode", BREAK)
def test_up(tmp_path: Path, mode: str) -> None:
    own = OwnLab(tmp_path)
    own.edit("mode: iptables", f"mode: {mode}")
    late = []
    for number in ROUNDS:
        try:
            own.up_here()
            if undone(own.name, own.sh, number, mode):
                late.append(number)
        finally:
            own.clear()
    assert late == [], f"{len(late)} of {len(ROUNDS)}"


def test_the_fixture(tmp_path: Path) -> None:
    late = []
    for number in ROUNDS:
        with Labs(keep=False, require=False).borrowed() as up:
            lab = up("calico-two-node", tmp_path, None, None)
            if undone(lab.name, lab.sh, number):
                late.append(number)
    assert late == [], f"{len(late)} of {len(ROUNDS)}"


def test_up_waits_where_a_pod_is_not_ready(tmp_path: Path) -> None:
    """Then the rules that `up` wrote itself are not the last ones."""
    own = OwnLab(tmp_path)
    own.write(own.file.read_text() + DONE + WORKS)
    (gone,) = [str(pod.assigned) for pod in own.lab().pods if pod.name == "done"]
    try:
        own.up_here()
        for node in NODES:
            rules = own.sh(node, "iptables-save -t nat")
            assert "default/works" in rules
            assert gone not in rules
        assert not undone(own.name, own.sh, 0)
    finally:
        own.clear()


@pytest.mark.parametrize("mode", BREAK)
def test_what_up_wrote_into_a_running_lab_is_there_once(tmp_path: Path, mode: str) -> None:
    """Kube-proxies that run write it, too: they know nothing of it yet."""
    own = OwnLab(tmp_path)
    own.edit("mode: iptables", f"mode: {mode}")
    try:
        own.up_here()
        own.write(own.file.read_text() + WORKS)
        own.up_here()
        assert own.differences() == []
    finally:
        own.clear()


@pytest.mark.lab("calico-two-node")
def test_set(lab: RunningLab) -> None:
    late = []
    for number in ROUNDS:
        mode = ("nftables", "iptables")[number % 2]
        lab.set(proxy_mode=mode)
        if undone(lab.name, lab.sh, number // 2, mode):
            late.append(number)
    assert late == [], f"{len(late)} of {len(ROUNDS)}"


@pytest.mark.lab("calico-two-node")
def test_apply(lab: RunningLab) -> None:
    late = []
    for number in ROUNDS:
        assert lab.apply(SERVICE.format(8000 + number)) == [f"service/late {'configured' if number else 'created'}"]
        if undone(lab.name, lab.sh, number):
            late.append(number)
        lab.mend()
    assert late == [], f"{len(late)} of {len(ROUNDS)}"


@pytest.mark.lab("calico-two-node")
def test_a_killed_kube_proxy_stays_dead_until_up(lab: RunningLab) -> None:
    """Whatever kubectl changes: its rules go stale, as on a real node."""
    kill(pids(lab.name)["node2 kube-proxy"])
    done = change.apply(lab.name, SERVICE.format(8000))
    assert (done.lines, done.late) == (("service/late created",), (("kube-proxy", "node2"),))
    assert "node2 kube-proxy" not in pids(lab.name)
    there = {node: "10.103.9.117" in lab.sh(node, "iptables-save -t nat") for node in NODES}
    assert there == {"node1": True, "node2": False}
    assert any(line.startswith("node2 has no kube-proxy process") for line in lab.diff())
    lab.mend()
    until(lambda: "10.103.9.117" in lab.sh("node2", "iptables-save -t nat"))
    assert lab.diff() == []
