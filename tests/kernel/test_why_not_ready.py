"""Why a pod is not ready: in `ps`, `get` and `describe`, and in the events that the nodes' kubelets keep."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.timeouts import scaled
from tests.kernel.labkit import TWO_NODES, OwnLab, kill, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: agnhost
    args: [netexec]
    readinessProbe: {exec: {command: [sh, -c, 'echo not today; exit 1']}, periodSeconds: 1, timeoutSeconds: 30}
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  nodeName: n2
  containers: [{name: app, image: busybox, command: [sh, -c, exit 3]}]
---
apiVersion: v1
kind: Pod
metadata: {name: missing}
spec:
  nodeName: n2
  containers: [{name: app, command: [nosuchprogram]}]
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  nodeName: n2
  restartPolicy: Never
  containers: [{name: app, image: busybox, command: [sh, -c, 'echo ran; exit 4']}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    made.write(TWO_NODES.replace("NAME", made.name))
    try:
        made.up()
        assert nslab("apply", made.name, "-f", "-", input=PODS).returncode == 0
        until(lambda: {"Unhealthy", "BackOff"} <= {reason for _, reason, _, _ in events(made)})
        yield made
    finally:
        made.clear()


def got(lab: OwnLab, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(nslab("get", lab.name, *words, "-o", "json").stdout)
    return found


def events(lab: OwnLab) -> set[tuple[str, str, str, str]]:
    """Pod, reason, message and type of each event."""
    found = got(lab, "events")["items"]
    return {(one["involvedObject"]["name"], one["reason"], one["message"], one["type"]) for one in found}


def test_events_tell_what_happened(lab: OwnLab) -> None:
    found = events(lab)
    image = 'Container image "{}" already present on machine and can be accessed by the pod'
    uid = got(lab, "pod/crash")["metadata"]["uid"]
    assert found >= {
        ("sick", "Scheduled", "Successfully assigned default/sick to n1", "Normal"),
        ("sick", "Pulled", image.format("agnhost"), "Normal"),
        ("sick", "Created", "Container created", "Normal"),
        ("sick", "Started", "Container started", "Normal"),
        ("sick", "Unhealthy", "Readiness probe failed: not today\n", "Warning"),
        ("crash", "Started", "Container started", "Normal"),
        ("crash", "BackOff", f"Back-off restarting failed container app in pod crash_default({uid})", "Warning"),
        ("missing", "Failed", "Error: exec nosuchprogram: No such file or directory", "Warning"),
    }
    assert not any(pod == "missing" and reason in ("Pulled", "Started") for pod, reason, _, _ in found)
    counts = {
        one["reason"]: one["count"] for one in got(lab, "events")["items"] if one["involvedObject"]["name"] == "crash"
    }
    assert counts["Created"] == counts["Started"] >= 2


def test_describe_ends_with_them(lab: OwnLab) -> None:
    text = nslab("describe", lab.name, "pod/sick").stdout
    shown = text[text.index("Events:") :].splitlines()
    assert [line.split()[:2] for line in shown[3:]] == [
        ["Normal", "Scheduled"], ["Normal", "Pulled"], ["Normal", "Created"], ["Normal", "Started"],
        ["Warning", "Unhealthy"],
    ]  # fmt: skip
    assert "ContainersNotReady" in text


@pytest.mark.parametrize("call", [("ps",), ("get", "pods")])
def test_lists_say_why_below(lab: OwnLab, call: tuple[str, ...]) -> None:
    missing = "exec nosuchprogram: No such file or directory"
    wanted = {
        "crash is not ready: app: Error, exit code 3; back-off",
        f"missing is not ready: app: StartError, exit code 127, {missing}; back-off",
        "once is not ready: app: Error, exit code 4",
        "sick is not ready: web: Readiness probe failed: not today",
    }

    def told() -> set[str]:
        done = nslab(call[0], lab.name, *call[1:])
        assert "is not ready" not in done.stdout
        return {re.sub("(back-off) .*", r"\1", line) for line in done.stderr.splitlines()}

    until(lambda: told() == wanted)  # who is just started again is not there to be asked


def test_rows_say_why(lab: OwnLab) -> None:
    def told() -> dict[str, bool]:
        return {row["name"]: bool(row["why"]) for row in json.loads(nslab("ps", lab.name, "-o", "json").stdout)}

    until(lambda: told() == dict.fromkeys(("crash", "missing", "once", "sick"), True))


def test_a_change_waits_for_what_it_started_and_names_the_rest(lab: OwnLab) -> None:
    began = time.monotonic()
    done = nslab("set", lab.name, "proxy-mode=iptables")
    line = f"not ready, and not changed by this: crash, missing, once and 1 more; `nslab ps {lab.name}` says why\n"
    assert (done.returncode, done.stderr) == (0, line)
    assert time.monotonic() - began < scaled(9), "a readiness probe that fails is waited for 10 s"
    worker = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: app, command: [nosuch]}]}\n"
    done = nslab("apply", lab.name, "--wait", "-f", "-", input=worker)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, line[:-1])
    assert done.stderr.startswith("nslab: bad/app on ")
    assert nslab("delete", lab.name, "pod/bad", "--force").returncode == 0


def test_what_has_ended_does_not_run_again_when_its_node_has_a_new_process(lab: OwnLab) -> None:
    def ended() -> dict[str, Any]:
        found: dict[str, Any] = got(lab, "pod/once")["status"]["containerStatuses"][0]
        return found

    before = ended()
    assert before["state"]["terminated"]["exitCode"] == 4
    kill(lab.pids()["n2 node"])
    assert not [line for line in lab.differences() if "once" in line]
    done = nslab("apply", lab.name, "-f", "-", input=PODS)
    assert (done.returncode, lab.differences()) == (0, []), "it starts what is missing, too"
    assert ended() == before
    assert nslab("logs", f"{lab.name}/once").stdout == "ran\n"


def test_what_is_deleted_is_remembered(lab: OwnLab) -> None:
    assert nslab("delete", lab.name, "pod/sick").returncode == 0
    assert ("sick", "Killing", "Stopping container web", "Normal") in events(lab)
    assert "Event" not in {one["kind"] for one in got(lab)["items"]}, "a lab's objects are what could be applied again"
