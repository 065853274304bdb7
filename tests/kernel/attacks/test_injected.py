"""The kernel refuses one system call, of the command line or of a child: one sentence, and a lab that can be mended.

What was found by trying 25 calls with several errors each at many places; strace injects them (`-f`: in children too).
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, left, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace, which injects errors, is not installed")

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: newcomer}
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


def refused(
    call: str, error: str, when: int, *arguments: object, **options: object
) -> subprocess.CompletedProcess[str]:
    """A call of nslab, in each process of which the kernel refuses the so-manyeth call of a kind."""
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", *inject, "--", *NSLAB, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)


def is_one_sentence(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether what went wrong is told in our words, and in a line."""
    output = [line for line in done.stderr.splitlines() if line.startswith("nslab: ")]
    return len(output) == 1 and not any(word in done.stderr for word in ("Traceback", "Errno", "Error"))


@pytest.mark.parametrize(
    ("call", "error", "when"),
    [
        *(("unshare", "EPERM", when) for when in (1, 2)),
        *(("mount", "EPERM", when) for when in (1, 2, 4)),
        ("setns", "EPERM", 1),
        ("open_tree", "EPERM", 1),
        ("prctl", "EPERM", 1),
        ("sethostname", "EPERM", 1),
        ("recvmsg", "ECONNRESET", 1),
        ("pipe2", "EMFILE", 1),
        ("clone,clone3,fork,vfork", "EAGAIN", 1),
    ],
    ids=str,
)
def test_up_is_refused_in_one_sentence_and_leaves_nothing(own: OwnLab, call: str, error: str, when: int) -> None:
    done = refused(call, error, when, "up", own.file)
    assert (done.returncode, is_one_sentence(done)) == (3, True), done.stderr
    assert left(own.name) == []


@pytest.mark.parametrize(("call", "error"), [("recvmsg", "ENOMEM"), ("bind", "EACCES")])
def test_a_program_that_cannot_list_is_told(own: OwnLab, call: str, error: str) -> None:
    own.up()
    done = refused(call, error, 1, "diff", own.name)
    assert (done.returncode, is_one_sentence(done)) == (3, True), done.stderr


@pytest.mark.parametrize("when", [1, 2, 3])
def test_the_wish_is_kept_whatever_is_refused(own: OwnLab, tmp_path: Path, when: int) -> None:
    own.up()
    (tmp_path / "pod.yaml").write_text(POD)
    refused("rename", "ENOSPC", when, "apply", own.name, "-f", tmp_path / "pod.yaml")
    assert nslab("diff", own.name).returncode in (0, 1)
    own.up()
    assert own.differences() == []


def test_a_broken_pipe_of_ours_is_no_broken_pipe_of_the_reader_s(own: OwnLab) -> None:
    own.up()
    done = refused("sendto", "EPIPE", 1, "diff", own.name)
    assert (done.returncode, is_one_sentence(done)) == (3, True), done.stderr
