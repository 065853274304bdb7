"""Tool images: busybox's applets where busybox is installed, and what is said of what cannot work."""

from __future__ import annotations

import shutil
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
spec: {nodes: [{name: n1}], dns: {address: 10.96.0.10}}
---
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    made.write(OBJECTS.replace("LAB", made.name))
    try:
        yield made
    finally:
        made.clear()


def run(lab: OwnLab, container: str, command: str) -> str:
    return nslab("exec", f"{lab.name}/shop/tools", "-c", container, "--", "sh", "-c", command).stdout.strip()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed")
def test_busybox_runs_its_applets_and_debian_this_machines_programs(lab: OwnLab) -> None:
    lab.up()
    assert run(lab, "busy", "readlink -f /proc/$$/exe").endswith("/busybox")
    assert run(lab, "busy", "ls --help 2>&1 | head -n 1").startswith("BusyBox v")
    assert run(lab, "busy", "wget -qO- http://web/") == "pod web, container c, image nginx"
    namespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
    assert run(lab, "busy", f"nslookup web.$(cat {namespace}).svc.cluster.local >/dev/null && echo found") == "found"
    assert run(lab, "busy", "nslookup web >/dev/null && echo found") == "found"
    assert run(lab, "busy", "nslookup nobody >/dev/null || echo none") == "none"
    assert not run(lab, "debian", "readlink -f /proc/$$/exe").endswith("/busybox")


def test_a_missing_program_is_named_with_its_package(lab: OwnLab) -> None:
    lab.write(lab.file.read_text() + "---\n" + FAILING)
    done = nslab("up", lab.file)
    assert done.returncode == 1
    assert "failing/a on n1: exec nowhere-to-be-found: No such file or directory\n" in done.stderr
    assert "failing/b on n1: exited with 127\n" in done.stderr
