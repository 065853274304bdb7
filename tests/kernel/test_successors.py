"""A controller replaces a pod that is deleted: in the kernel, in the lab's file, and on what comes later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import TWO_NODES, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

SET = """\
---
apiVersion: apps/v1
kind: KIND
metadata: {name: NAME}
spec:
  replicas: 2
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 20
      containers: [{name: c, command: [sh, -c, 'trap "touch /tmp/told; exit" TERM; sleep infinity & wait']}]
"""
KINDS = {"Deployment": "web", "StatefulSet": "db", "DaemonSet": "agent"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    sets = "".join(SET.replace("KIND", kind).replace("NAME", name) for kind, name in KINDS.items())
    made.write(
        TWO_NODES.replace("NAME", made.name) + sets.replace("metadata: {name: agent}\nspec:\n  replicas: 2", AGENT)
    )
    try:
        made.up()
        yield made
    finally:
        made.clear()


AGENT = "metadata: {name: agent}\nspec:"


def pods(lab: OwnLab, name: str) -> dict[str, dict[str, Any]]:
    """The pods of a controller that do not terminate, by name."""
    found = json.loads(nslab("get", lab.name, "pods", "-l", f"app={name}", "-o", "json").stdout)["items"]
    return {one["metadata"]["name"]: one for one in found if "deletionTimestamp" not in one["metadata"]}


def ready(lab: OwnLab, name: str) -> bool:
    found = pods(lab, name).values()
    conditions = [each for one in found for each in one["status"]["conditions"] if each["type"] == "Ready"]
    return [each["status"] for each in conditions] == ["True", "True"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_comes_back(lab: OwnLab, kind: str) -> None:
    name = KINDS[kind]
    before = pods(lab, name)
    gone, stays = sorted(before)
    done = nslab("delete", lab.name, f"pod/{gone}")
    assert (done.returncode, done.stdout) == (0, f'pod "{gone}" deleted\n'), done.stderr
    after = pods(lab, name)
    (new,) = [one for one in after.values() if one["metadata"]["name"] != stays]
    old = before[gone]
    assert after[stays]["metadata"]["uid"] == before[stays]["metadata"]["uid"]
    assert (new["metadata"]["name"] == gone) is (kind == "StatefulSet")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["metadata"]["labels"] == old["metadata"]["labels"]
    assert new["status"]["podIP"] != old["status"]["podIP"]
    if kind == "DaemonSet":
        assert new["spec"]["nodeName"] == old["spec"]["nodeName"]
    host = new["metadata"]["name"]
    until(lambda: ready(lab, name))
    assert new["status"]["podIP"] in lab.sh(host, "ip -br address show eth0")
    assert lab.in_pod(host, "ls /tmp") == "", "nothing is left of the old one"
    events = nslab("get", lab.name, "events").stdout
    assert f"pod/{gone} " in events
    assert "Stopping container c" in events


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: late}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"


def created(lab: OwnLab, what: str) -> str:
    found = json.loads(nslab("get", lab.name, what, "-o", "json").stdout)
    return str(found["metadata"]["creationTimestamp"])


def uids(lab: OwnLab) -> dict[str, str]:
    found = json.loads(nslab("get", lab.name, "pods", "-o", "json").stdout)["items"]
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in found}


def test_the_file_and_later_calls_leave_successors_alone(lab: OwnLab) -> None:
    before = uids(lab)
    gone = next(name for name in before if name.startswith("web"))
    assert nslab("delete", lab.name, f"pod/{gone}", "--force").returncode == 0
    after = uids(lab)
    assert gone not in after
    assert len(after) == len(before)
    assert nslab("apply", lab.name, "-f", "-", input=SERVICE).returncode == 0
    assert created(lab, "svc/late") > created(lab, "deploy/web") == created(lab, "node/n1")
    assert created(lab, "endpoints/late") == created(lab, "svc/late")
    assert nslab("delete", lab.name, "svc/late").returncode == 0
    assert nslab("scale", lab.name, "deployment/web", "--replicas", 2).returncode == 0
    assert "is as it should be" in lab.up()
    assert uids(lab) == after
