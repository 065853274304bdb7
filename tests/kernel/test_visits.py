"""`down` ends what lives in a lab, not the commands that read it from outside; those say that the lab is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, left, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: kubenet}
  nodes: [{name: node1}, {name: node2}]
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {nodeName: node1, containers: [{name: c, image: pause}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {nodeName: node2, containers: [{name: c, image: pause}]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    made.write(LAB.replace("NAME", made.name))
    made.up()
    yield made
    made.clear()


def is_inside(own: OwnLab, pid: int) -> bool:
    """Whether a process is in a namespace of the lab."""
    here = f"/run/nslab/{own.name}/ns"
    return os.stat(f"/proc/{pid}/ns/net").st_ino in {os.stat(f"{here}/{ns}").st_ino for ns in os.listdir(here)}


def stopped_inside(own: OwnLab, *arguments: str) -> subprocess.Popen[str]:
    """A call of nslab, stopped while it is in a namespace of the lab."""
    for _ in range(5):
        process = subprocess.Popen(
            [*NSLAB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        with suppress(OSError):  # it has ended
            while process.poll() is None:
                if is_inside(own, process.pid):
                    process.send_signal(signal.SIGSTOP)
                    if is_inside(own, process.pid):
                        return process
                    process.send_signal(signal.SIGCONT)
                time.sleep(0.001)
        process.communicate()
    raise AssertionError(f"{arguments} was never seen in the lab")


def test_who_reads_a_lab_outlives_it_and_says_that_it_is_gone(own: OwnLab) -> None:
    calls = {
        "trace": stopped_inside(own, "trace", own.name, "a", "b:80"),
        "probe": stopped_inside(own, "probe", own.name),
        "diff": stopped_inside(own, "diff", own.name),
    }
    stranger = subprocess.Popen(["nsenter", f"--net=/run/netns/{own.ns('node1')}", "sleep", "60"])
    until(lambda: is_inside(own, stranger.pid))
    own.down()
    assert stranger.wait() == -signal.SIGKILL
    for verb, process in calls.items():
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
        said = f"nslab: lab {own.name} is gone: `nslab down` has just removed it\n"
        assert (verb, process.returncode, errors) == (verb, 1, said)
    assert left(own.name) == []


def test_who_reads_a_lab_is_no_part_of_it(own: OwnLab) -> None:
    reading = stopped_inside(own, "probe", own.name)
    assert own.differences() == []
    reading.send_signal(signal.SIGCONT)
    _, errors = reading.communicate(timeout=60)
    assert (reading.returncode, errors) == (0, "")
