"""The variables of a container that runs, and what does not change them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

OBJECTS = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: LAB}
spec: {nodes: [{name: n1}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {COLOR: blue}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: 10.96.0.77, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    command: [sh, -c, "echo at $(DB_SERVICE_HOST) in $(COLOR); exec sleep infinity"]
    envFrom: [{configMapRef: {name: shop}}]
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
"""
CHANGED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {COLOR: red}
---
apiVersion: v1
kind: Service
metadata: {name: late}
spec: {ports: [{port: 80}]}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    made.write(OBJECTS.replace("LAB", made.name))
    try:
        yield made
    finally:
        made.clear()


def in_pod(lab: OwnLab, command: str) -> str:
    return nslab("exec", f"{lab.name}/web", "--", "sh", "-c", command).stdout.strip()


def test_what_is_said_elsewhere_is_in_its_environment_from_its_start(lab: OwnLab) -> None:
    lab.up()
    assert nslab("logs", f"{lab.name}/web").stdout == "at 10.96.0.77 in blue\n"
    address = in_pod(lab, "ip -4 -o address show dev eth0").split()[3].partition("/")[0]
    kept = f"blue 5432 tcp {address} 443"
    assert in_pod(lab, "echo $COLOR $DB_SERVICE_PORT $DB_PORT_5432_TCP_PROTO $IP $KUBERNETES_SERVICE_PORT") == kept
    started = in_pod(lab, "stat -c %Y /proc/1; tr '\\0' '\\n' </proc/1/environ | grep -c COLOR=blue")
    lab.file.write_text(CHANGED)
    assert nslab("apply", lab.name, "-f", lab.file).returncode == 0
    assert lab.differences() == []
    assert in_pod(lab, "stat -c %Y /proc/1; tr '\\0' '\\n' </proc/1/environ | grep -c COLOR=blue") == started
