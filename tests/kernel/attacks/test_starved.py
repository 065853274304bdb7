"""Too few descriptors, too little memory, for the command line and for a node: a sentence, and all is well again."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, left, mark, nslab, pids, processes, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.pytest_plugin.running import RunningLab

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: newcomer-%d}
spec:
  nodeName: node1
  containers:
  - {name: app, image: registry.k8s.io/e2e-test-images/agnhost:2.53, args: [netexec], ports: [{containerPort: 8080}]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnLab]:
    lab = OwnLab(tmp_path)
    yield lab
    lab.clear()


def limited(files: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A call of nslab that may open so many files."""
    argv = ["prlimit", f"--nofile={files}:{files}", *NSLAB, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("files", [20, 40, 58, 64, 128])
def test_too_few_descriptors_are_one_sentence(own: OwnLab, files: int) -> None:
    done = limited(files, "up", own.file)
    sentence = (
        f"nslab: only {files} files may be open at a time here, and a lab needs 256: raise the limit (ulimit -Hn)"
    )
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (4, "", sentence)
    assert "Traceback" not in done.stderr
    assert left(own.name) == []


def test_a_low_soft_limit_is_raised(own: OwnLab) -> None:
    argv = ["prlimit", "--nofile=30:", *NSLAB, "up", str(own.file)]
    subprocess.run(argv, check=True, capture_output=True, cwd=ROOT)
    soft, hard = resource.prlimit(pids(own.name)["node1 node"], resource.RLIMIT_NOFILE)
    assert soft == hard


def test_down_needs_few(own: OwnLab) -> None:
    own.up()
    done = limited(64, "down", own.name)
    assert (done.returncode, done.stderr, left(own.name)) == (0, "", [])


def test_a_node_without_a_descriptor_left_says_so_and_is_one(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab("calico-two-node")
    node = pids(lab.name)["node1 node"]
    before = resource.prlimit(node, resource.RLIMIT_NOFILE)
    held = len(os.listdir(f"/proc/{node}/fd"))
    for files in (held, held + 4, held + 8, 58, 60, 62, 64):
        resource.prlimit(node, resource.RLIMIT_NOFILE, (files, before[1]))
        done = nslab("apply", lab.name, "-f", "-", input=POD % files)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or re.search("Too many open files|exited with 1", done.stderr), done.stderr
        twins = [pid for pid in processes(lab.name) if mark(pid).startswith(f"nslab.{lab.name}.node1 node")]
        assert twins == [node]
        resource.prlimit(node, resource.RLIMIT_NOFILE, before)
        lab.mend()
    until(lambda: lab.diff() == [])


@pytest.mark.parametrize("mega", [40, 45, 50])
def test_too_little_memory_is_one_sentence(own: OwnLab, mega: int) -> None:
    argv = ["prlimit", f"--as={mega * 1_000_000}", *NSLAB, "up", str(own.file)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)
    if done.returncode:
        assert (done.returncode, done.stderr) == (
            4,
            "nslab: there is not enough memory for this; `ulimit -v` says how much a process may have\n",
        )
        assert left(own.name) == []


@pytest.mark.parametrize("role", ["node1 node", "control control", "node1 kube-proxy"])
def test_a_component_without_memory_left_is_mended(make_lab: Callable[..., RunningLab], role: str) -> None:
    lab = make_lab("calico-two-node")
    pid = pids(lab.name)[role]
    status = Path(f"/proc/{pid}/status").read_text()
    size = int(status.partition("VmSize:")[2].split()[0]) * 1024
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    done = nslab("apply", lab.name, "-f", "-", input=POD % 1)
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("nslab:")]) == (done.returncode != 0)
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    lab.mend()
    assert lab.diff() == []
    assert pids(lab.name)[role] == pid


PROBED = """\
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  nodeName: node1
  containers:
  - name: app
    image: registry.k8s.io/e2e-test-images/agnhost:2.53
    args: [netexec]
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1, failureThreshold: 1}
"""


def test_a_node_that_cannot_ask_is_not_its_pod_s_end(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab("calico-two-node")
    lab.apply(PROBED)
    node = pids(lab.name)["node1 node"]
    before = resource.prlimit(node, resource.RLIMIT_NOFILE)
    resource.prlimit(node, resource.RLIMIT_NOFILE, (3, before[1]))
    woken = wakeups(node)
    until(lambda: wakeups(node) > woken + 3)  # a second each, when it would ask
    resource.prlimit(node, resource.RLIMIT_NOFILE, before)
    until(lambda: is_ready(lab, "probed"))
    assert pids(lab.name)["node1 node"] == node


def wakeups(pid: int) -> int:
    """How often a process has gone to sleep."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("nonvoluntary_ctxt")[0].split()[-1])


def is_ready(lab: RunningLab, name: str) -> bool:
    """Whether `nslab ps` shows a pod as ready."""
    rows = json.loads(nslab("ps", lab.name, "-o", "json").stdout)
    return any(row["name"] == name and row["ready"] is True for row in rows)
