"""Tool images: busybox's applets where busybox is installed, and what is said of what cannot work."""

from __future__ import annotations

import shutil

import pytest

from tests.kernel.labkit import OwnLab, nslab

pytestmark = pytest.mark.root

OBJECTS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: tools, namespace: shop}
spec:
  containers:
  - {name: busy, image: "busybox:1.28", command: [sleep, infinity]}
  - {name: debian, image: debian, command: [sleep, infinity]}
"""
FAILING = """\
apiVersion: v1
kind: Pod
metadata: {name: failing}
spec:
  restartPolicy: Never
  containers:
  - {name: a, command: [nowhere-to-be-found]}
  - {name: b, command: [sh, -c, "telnet-of-nobody"]}
"""


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed")
def test_busybox_runs_its_applets_and_debian_this_machines_programs(one_node: OwnLab) -> None:
    one_node.up()
    assert one_node.in_pod("shop/tools", "readlink -f /proc/$$/exe", "busy").endswith("/busybox")
    assert one_node.in_pod("shop/tools", "ls --help 2>&1 | head -n 1", "busy").startswith("BusyBox v")
    assert one_node.in_pod("shop/tools", "wget -qO- http://web/", "busy") == "pod web, container c, image nginx"
    namespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
    assert (
        one_node.in_pod(
            "shop/tools", f"nslookup web.$(cat {namespace}).svc.cluster.local >/dev/null && echo found", "busy"
        )
        == "found"
    )
    assert one_node.in_pod("shop/tools", "nslookup web >/dev/null && echo found", "busy") == "found"
    assert one_node.in_pod("shop/tools", "nslookup nobody >/dev/null || echo none", "busy") == "none"
    assert not one_node.in_pod("shop/tools", "readlink -f /proc/$$/exe", "debian").endswith("/busybox")


def test_a_missing_program_is_named_with_its_package(one_node: OwnLab) -> None:
    one_node.write(one_node.file.read_text() + "---\n" + FAILING)
    done = nslab("up", one_node.file)
    assert done.returncode == 1
    assert "failing/a on n1: exec nowhere-to-be-found: No such file or directory\n" in done.stderr
    assert "failing/b on n1: exited with 127\n" in done.stderr
