"""Services at the edges of what their files may say."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from nslab.linux.timeouts import VARIABLE, scaled
from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
LONGEST = 63
"""Characters of a DNS label."""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec: {{containers: [{{name: app, image: agnhost, {probe}: {{periodSeconds: 1, tcpSocket: {{port: nix}}}}}}]}}
"""
NAMES = """\
apiVersion: nslab/v1
kind: Lab
metadata: {{name: {lab}}}
spec:
  cni: {{plugin: calico, encapsulation: None}}
  proxy: {{mode: {mode}}}
  dns: {{address: 10.96.0.10}}
  nodes: [{{name: node1}}, {{name: node2}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {deployment}, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {deployment}}}}}
  template:
    metadata: {{labels: {{app: {deployment}}}}}
    spec:
      containers:
      - {{name: {service}, image: agnhost, args: [netexec], ports: [{{name: abcdefghijklmno, containerPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {service}, namespace: {namespace}}}
spec:
  selector: {{app: {deployment}}}
  ports: [{{name: {deployment}, port: 80, targetPort: abcdefghijklmno}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: box}}
spec: {{nodeName: node1, containers: [{{name: app, image: agnhost}}]}}
"""


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_names_as_long_as_they_may_be(tmp_path: Path, mode: str) -> None:
    own = OwnLab(tmp_path, "pause-pod")
    own.name = own.name.ljust(LONGEST, "l")
    service, namespace = "s".ljust(LONGEST, "v"), "n".ljust(LONGEST, "s")
    names = {"lab": own.name, "service": service, "namespace": namespace, "deployment": "d".ljust(LONGEST, "p")}
    own.write(NAMES.format(mode=mode, **names))
    try:
        own.up()
        curl = nslab("exec", f"{own.name}/box", "--", "curl", "-sm5", f"http://{service}.{namespace}/hostname")
        assert (curl.returncode, curl.stdout[:1]) == (0, "d"), curl.stderr
        assert own.differences() == []
    finally:
        own.clear()
    assert own.left() == []


def test_a_probe_of_a_port_that_no_container_has(tmp_path: Path) -> None:
    own = OwnLab(tmp_path, "pause-pod")
    pods = POD.format(name="never", probe="readinessProbe") + POD.format(name="always", probe="livenessProbe")
    own.write(own.file.read_text() + pods)
    try:
        # What is waited for will not come.
        hurried = {**os.environ, VARIABLE: str(0.3 * scaled(1.0))}
        done = nslab("up", own.file, env=hurried)
        assert done.returncode == 1, done.stderr
        warned = [line for line in done.stderr.splitlines() if line.startswith(str(own.file))]
        assert [line.partition(": ")[2] for line in warned] == [
            "container app has no port nix, so its readinessProbe fails",
            "container app has no port nix, so its livenessProbe never runs",
        ]
        assert "never/app" in done.stderr
        assert "Readiness probe failed: the container has no port of the name that the probe asks for" in done.stderr
        pods = {
            pod["name"]: (pod["ready"], pod["restarts"])
            for pod in json.loads(nslab("ps", own.name, "-o", "json").stdout)
        }
        assert (pods["never"], pods["always"]) == ((False, 0), (True, 0))
        assert own.differences() == []
    finally:
        own.clear()


@pytest.mark.parametrize("arguments", [["apply", "x"], ["scale", "x", "deployment/web", "--replicas", "-1"]])
def test_what_is_wrong_with_an_option_is_said_without_noise(arguments: list[str]) -> None:
    done = nslab(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "env var" not in done.stderr
