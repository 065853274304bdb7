"""Too few descriptors, for the command line and for a node: one sentence, and all is well afterwards."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, left, mark, nslab, pids, processes, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nslab.plugin.running import RunningLab

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
