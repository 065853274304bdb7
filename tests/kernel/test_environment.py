"""The variables of a container that runs, and what does not change them."""

from __future__ import annotations

import pytest

from tests.kernel.labkit import OwnLab, nslab, until

pytestmark = pytest.mark.root

OBJECTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {COLOR: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {PASSWORD: s3cret}
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
    envFrom: [{configMapRef: {name: shop}}, {secretRef: {name: login}}]
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


def test_what_is_said_elsewhere_is_in_its_environment_from_its_start(one_node: OwnLab) -> None:
    one_node.up()
    until(lambda: nslab("logs", f"{one_node.name}/web").stdout == "at 10.96.0.77 in blue\n")
    address = one_node.in_pod("web", "ip -4 -o address show dev eth0").split()[3].partition("/")[0]
    kept = f"blue 5432 tcp {address} 443"
    assert (
        one_node.in_pod("web", "echo $COLOR $DB_SERVICE_PORT $DB_PORT_5432_TCP_PROTO $IP $KUBERNETES_SERVICE_PORT")
        == kept
    )
    started = one_node.in_pod("web", "stat -c %Y /proc/1; tr '\\0' '\\n' </proc/1/environ | grep -c COLOR=blue")
    one_node.file.write_text(CHANGED)
    assert nslab("apply", one_node.name, "-f", one_node.file).returncode == 0
    assert one_node.differences() == []
    assert one_node.in_pod("web", "stat -c %Y /proc/1; tr '\\0' '\\n' </proc/1/environ | grep -c COLOR=blue") == started


def test_a_secret_reaches_its_container_and_no_reader(one_node: OwnLab) -> None:
    one_node.up()
    assert one_node.in_pod("web", "echo $PASSWORD") == "s3cret"
    read = [nslab("plan", one_node.file), nslab("plan", one_node.file, "-o", "json"), nslab("diff", one_node.name)]
    read += [nslab("describe", one_node.name, kind) for kind in ("pod/web", "secret/login")]
    assert [done.returncode for done in read] == [0] * len(read)
    assert not [done.args for done in read if "s3cret" in done.stdout + done.stderr]
    assert "PASSWORD=***" in read[0].stdout
    script = nslab("plan", one_node.file, "--script").stdout
    assert "PASSWORD=s3cret" in script
    assert "keep the file from others (chmod 600)" in script
