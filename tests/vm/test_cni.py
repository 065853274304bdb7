"""CNI plugins on a kernel whose iptables is the legacy one: they write what this kernel takes, and CHECK finds it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import ROOT, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not Path("/usr/lib/cni/bridge").exists(),
    reason="no CNI plugins in /usr/lib/cni; on Debian: apt install containernetworking-plugins",
)
LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {{name: cni-legacy}}
spec:
  cni: {{plugin: exec, conf: {conf}}}
  nodes: [{{name: node1}}]
  clients: [{{name: client}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec: {{containers: [{{name: app, image: agnhost, ports: [{{containerPort: 8080, hostPort: 8088}}]}}]}}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """One node and one pod, which has a port of the node's."""
    file = tmp_path / "lab.yaml"
    file.write_text(LAB.format(conf=ROOT / "tests" / "example" / "bridge.conflist"))
    done = nslab("up", file, timeout=120)
    assert done.returncode == 0, done.stderr
    yield "cni-legacy"
    assert nslab("down", "cni-legacy", timeout=120).stderr == ""


def test_portmap_writes_rules_of_the_legacy_variant(lab: str) -> None:
    inside = ("ip", "netns", "exec", f"nslab.{lab}.node1")
    rules = subprocess.run([*inside, "iptables-legacy-save", "-t", "nat"], capture_output=True, text=True, check=True)
    assert "--dport 8088 -j DNAT --to-destination 20.96.0.2:8080" in rules.stdout
    asked = nslab("exec", f"{lab}/client", "--", "curl", "-s", "--max-time", "10", "http://192.168.59.22:8088/hostname")
    assert (asked.returncode, asked.stdout) == (0, "web"), asked.stderr
    assert "as it should be" in nslab("diff", lab).stdout
