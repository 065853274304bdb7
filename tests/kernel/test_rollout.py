"""Rolling updates in the kernel: requests go on, a bad template leaves the old pods, and each kind has its order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.netns import folder
from nslab.linux.processes.procs import start_of
from tests.kernel.labkit import OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: calico, encapsulation: None}
  nodes: [{name: n1}, {name: n2}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.7.7, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
WEB = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 3
      containers:
      - name: c
        image: agnhost
        args: [netexec, --http-port=8080]
        env: [{name: VERSION, value: one}]
        readinessProbe: {httpGet: {port: 8080, path: /healthz}, periodSeconds: 1}
"""
SET = """\
---
apiVersion: apps/v1
kind: KIND
metadata: {name: NAME}
spec:
  REPLICAS
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, command: [sleep, inf], env: [{name: VERSION, value: one}]}]
"""
SETS = {
    "db": SET.replace("KIND", "StatefulSet").replace("NAME", "db").replace("REPLICAS", "replicas: 2"),
    "agent": SET.replace("KIND", "DaemonSet").replace("NAME", "agent").replace("REPLICAS", "minReadySeconds: 0"),
}
ASK = """\
import http.client, sys, threading
failed, asked, stop = [], 0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("begun", flush=True)
while not stop.is_set():
    asked += 1
    try:
        line = http.client.HTTPConnection("10.96.7.7", 80, timeout=2)
        line.request("GET", "/hostname")
        line.getresponse().read()
        line.close()
    except OSError as error:
        failed.append(repr(error))
print(asked, len(failed), failed[:3], flush=True)
"""
"""Asks the Service until its input ends, and says how often, and how often in vain."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    made.write(LAB.replace("NAME", made.name) + WEB + "".join(SETS.values()))
    try:
        made.up()
        yield made
    finally:
        made.clear()


@contextmanager
def asking(lab: OwnLab) -> Iterator[None]:
    """Requests all the time, none of which may fail."""
    argv = ["ip", "netns", "exec", lab.ns("n1"), sys.executable, "-c", ASK]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout
        assert asker.stdin
        assert asker.stdout.readline() == "begun\n"
        try:
            yield
        finally:
            asker.stdin.close()
        asked, failed, *some = asker.stdout.read().split(maxsplit=2)
    assert int(asked) > 20
    assert failed == "0", some


def apply(lab: OwnLab, text: str, version: str, *options: str) -> subprocess.CompletedProcess[str]:
    return nslab("apply", lab.name, "-f", "-", *options, input=text.replace("value: one", f"value: {version}"))


def got(lab: OwnLab, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(nslab("get", lab.name, *words, "-o", "json").stdout)["items"])


def versions(lab: OwnLab, app: str) -> dict[str, str]:
    """What the pods of a controller that do not terminate were made from, by their names."""
    pods = [one for one in got(lab, "pods", "-l", f"app={app}") if "deletionTimestamp" not in one["metadata"]]
    return {one["metadata"]["name"]: one["spec"]["containers"][0]["env"][0]["value"] for one in pods}


def available(lab: OwnLab) -> int:
    return int(got(lab, "deploy")[0]["status"].get("availableReplicas", 0))


def sets(lab: OwnLab) -> list[tuple[int, int]]:
    """The revision and the number of pods of each ReplicaSet."""
    found = [one for one in got(lab, "rs") if one["metadata"]["name"].startswith("web")]
    revision = "deployment.kubernetes.io/revision"
    return sorted((int(one["metadata"]["annotations"][revision]), one["status"]["replicas"]) for one in found)


def controllers(lab: OwnLab) -> int:
    """The pid of the process of the controllers; 0 if there is none."""
    file = folder(lab.name) / "controllers"
    pid, start = map(int, file.read_text().split()) if file.exists() else (0, -1)
    return pid if start_of(pid) == start else 0


def test_no_request_fails_while_all_pods_are_replaced(lab: OwnLab) -> None:
    before = versions(lab, "web")
    with asking(lab):
        done = apply(lab, WEB, "two", "--wait")
        assert (done.returncode, done.stdout) == (0, "deployment.apps/web configured\n"), done.stderr
        after = versions(lab, "web")
    assert [*after.values()] == ["two"] * 3
    assert not {*after} & {*before}
    assert sets(lab) == [(1, 0), (2, 3)]
    shown = nslab("describe", lab.name, "deploy/web").stdout
    assert "ScalingReplicaSet" in shown
    assert "deployment-controller  Scaled up replica set web-" in shown
    events = nslab("get", lab.name, "events").stdout
    assert all(f"Deleted pod: {name}" in events for name in before)
    hosts = {line.split()[0] for line in lab.pids()}
    assert set(after) <= hosts
    assert not {*before} & hosts
    assert lab.differences() == []


def test_a_template_that_never_gets_ready_leaves_the_old_pods_serving(lab: OwnLab) -> None:
    bad = WEB.replace("httpGet: {port: 8080", "httpGet: {port: 9999")
    with asking(lab):
        assert apply(lab, bad, "bad").returncode == 0
        until(lambda: sorted(versions(lab, "web").values()) == ["bad", "two", "two", "two"])
        assert available(lab) == 3
        shown = nslab("describe", lab.name, "deploy/web").stdout
        assert "Replicas:               3 desired | 1 updated | 4 total | 3 available | 1 unavailable\n" in shown
        assert [line.count("replicas created") for line in shown.splitlines() if "ReplicaSet" in line[:14]] == [2, 1]
        assert sets(lab) == [(1, 0), (2, 3), (3, 1)]
        old = next(name for name, version in versions(lab, "web").items() if version == "two")
        assert nslab("delete", lab.name, f"pod/{old}", "--wait=false").returncode == 0
        until(lambda: available(lab) == 3)
        assert sorted(versions(lab, "web").values()) == ["bad", "two", "two", "two"]
        for replicas, found in ((6, ["bad"] * 3 + ["two"] * 5), (3, ["bad"] * 2 + ["two"] * 2)):
            assert nslab("scale", lab.name, "deploy/web", "--replicas", f"{replicas}").returncode == 0
            until(lambda found=found: sorted(versions(lab, "web").values()) == found)
    again = apply(lab, WEB, "two", "--wait")
    assert again.returncode == 0, again.stderr
    assert [*versions(lab, "web").values()] == ["two"] * 3
    assert sets(lab) == [(1, 0), (3, 0), (4, 3)]


def test_up_goes_on_where_the_controllers_were_killed(lab: OwnLab) -> None:
    slow = WEB.replace("spec:\n  replicas", "spec:\n  minReadySeconds: 1\n  replicas")
    assert apply(lab, slow, "three").returncode == 0
    until(lambda: controllers(lab) and "three" in versions(lab, "web").values())
    os.kill(controllers(lab), signal.SIGKILL)
    assert len({*versions(lab, "web").values()}) == 2
    assert lab.differences() == ["the lab has no process of its controllers (kube-controller-manager's)"]
    text = LAB.replace("NAME", lab.name) + slow.replace("value: one", "value: three") + "".join(SETS.values())
    lab.write(text)
    lab.up()
    assert [*versions(lab, "web").values()] == ["three"] * 3
    until(lambda: not controllers(lab))
    assert lab.differences() == []


def test_a_stateful_set_from_its_end_and_a_daemon_set_node_by_node(lab: OwnLab) -> None:
    uids = {one["metadata"]["name"]: one["metadata"]["uid"] for one in got(lab, "pods", "-l", "app=db")}
    seen: list[list[str]] = []

    def is_done() -> bool:
        found = versions(lab, "db")
        now = [found.get(name, "") for name in ("db-0", "db-1")]
        seen.extend([now] if now not in seen else [])
        return now == ["two", "two"]

    assert apply(lab, SETS["db"], "two").returncode == 0
    until(is_done, 20)
    assert ["two", "one"] not in seen
    assert ["two", ""] not in seen
    after = {one["metadata"]["name"]: one["metadata"]["uid"] for one in got(lab, "pods", "-l", "app=db")}
    assert after.keys() == uids.keys()
    assert not {*after.values()} & {*uids.values()}
    before = versions(lab, "agent")
    done = apply(lab, SETS["agent"], "two", "--wait")
    assert done.returncode == 0, done.stderr
    assert [*versions(lab, "agent").values()] == ["two"] * 2
    assert not {*before} & {*versions(lab, "agent")}
    assert lab.differences() == []
