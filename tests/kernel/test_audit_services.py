"""Services at the edges of what their files may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
LONGEST = 63
"""Characters of a DNS label."""
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
        nslab("down", own.name)
    assert own.left() == []
