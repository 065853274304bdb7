"""What tests of CNI plugins share: labs of their own, configurations, plugins in shell, and where things are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import ROOT, RUN, OwnLab, nslab

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.kernel.conftest import Fingerprint

DEBIANS = Path("/usr/lib/cni")
BRIDGE = ROOT / "tests" / "example" / "bridge.conflist"
PTP = {"type": "ptp", "ipam": {"type": "host-local", "subnet": "{{ node.podCIDR }}", "routes": [{"dst": "0.0.0.0/0"}]}}
LEASES = "/var/lib/cni/networks/pods"

ONE_NODE = """\
apiVersion: nslab/v1
kind: Lab
metadata: {{name: {name}}}
spec:
  cni: {{plugin: exec, conf: foreign.conf}}
  dns: {{address: 10.96.0.10}}
  nodes: [{nodes}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec: {{nodeName: node1, containers: [{{name: app, image: agnhost, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: shell}}
spec: {{containers: [{{name: app, image: agnhost, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""
FOREIGN = {"type": "bridge", "isDefaultGateway": True, "hairpinMode": True,
           "ipam": {"type": "host-local", "subnet": "10.22.0.0/16"}}  # fmt: skip

MARKS = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (DEBIANS / "bridge").exists(),
        reason="no CNI plugins in /usr/lib/cni; on Debian: apt install containernetworking-plugins",
    ),
]


def conf(*listed: dict[str, Any], **more: Any) -> str:
    """A configuration list."""
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": listed, **more})


def own_lab(folder: Path) -> OwnLab:
    """kubenet-two-node under a name of its own; pod-a has a port of its node."""
    lab = OwnLab(folder, "kubenet-two-node")
    head, _, tail = lab.file.read_text().partition("{containerPort: 8080}")
    lab.write(f"{head}{{containerPort: 8080, hostPort: 8088}}{tail}")
    return lab


def cni(lab: OwnLab | str, file: Path, *options: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    source = lab if isinstance(lab, str) else lab.file
    done = nslab("cni", source, "--conf", file, *options)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def results(name: str) -> dict[str, dict[str, Any]]:
    files = (RUN / name / "cni").glob("*.json")
    return {file.stem: json.loads(file.read_text())["result"] for file in files}


def probed(lab: OwnLab) -> None:
    done = nslab("probe", lab.name)
    assert done.returncode == 0, done.stdout + done.stderr


def inside(lab: OwnLab, host: str, *command: str) -> str:
    """A command in a host's own namespaces, mounts included."""
    done = nslab("exec", f"{lab.name}/{host}", "--", *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def plugin(folder: Path, name: str, body: str) -> None:
    """A plugin in shell; it tells `log` of each call."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f'#!/bin/sh\necho "$CNI_COMMAND {name} ${{CNI_NETNS##*/}}" >>{folder}/log\n{body}')
    file.chmod(0o755)


ECHO = "import json,sys; print(json.dumps(json.load(sys.stdin)['prevResult']))"
PASS = f'test "$CNI_COMMAND" != ADD || python3 -c "{ECHO}"\n'


@pytest.fixture
def own(tmp_path: Path, fingerprint: Callable[[], Fingerprint]) -> Iterator[OwnLab]:
    """A lab that is not up yet; at the end nothing of it may be left."""
    lab, before, kept = own_lab(tmp_path), fingerprint(), machines_own()
    try:
        yield lab
    finally:
        nslab("down", lab.name)
    assert lab.left() == []
    assert fingerprint().since(before) == []
    assert machines_own() == kept


def machines_own() -> list[str]:
    """What plugins would leave on this machine, if they ran on it."""
    return sorted(map(str, [*Path("/var/lib/cni").rglob("*"), *Path("/run").glob("cni/**")]))
