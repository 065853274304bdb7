"""A container whose node's process is gone prepares for the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.components.kubelet import adopt
from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import MARKS, SHARED, SLEEP, inside, pod, program, running
from tests.kernel.labkit import NSLAB, ROOT, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    flipping = {"command": program(intruder.flip, 4.0)}
    pods = [
        pod("flips", {f"f{number}": flipping for number in range(2)}, shareProcessNamespace=True),
        pod("shared", SHARED, shareProcessNamespace=True),
        pod("alone", {"app": SLEEP}),
    ]
    with running(tmp_path_factory.mktemp("lab"), *pods) as made:
        yield made


def test_who_stops_all_that_come_stops_nobody_else(lab: OwnLab) -> None:
    """Commands and containers that begin, while they are still nslab's own: the node waits for none of them."""
    argv = program(intruder.stop_newcomers, 2.5)
    command = [*NSLAB, "exec", f"{lab.name}/shared", "-c", "app", "--", *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as stopping:
        assert stopping.stdout
        assert stopping.stdout.readline() == "waiting\n"
        os.kill(lab.pids()["shared container/web"], signal.SIGKILL)
        for host in ("alone", "node1"):
            assert nslab("exec", f"{lab.name}/{host}", "--", "echo", "well").stdout == "well\n"
        assert int(stopping.stdout.read()) > 0
    until(lambda: lab.differences() == [], 20)


def test_the_next_process_of_a_node_gets_no_terminal(lab: OwnLab) -> None:
    """It opens what containers have as standard output; a terminal there would become its own, and could end it."""
    inside(lab, "flips", intruder.signal_all, signal.SIGUSR1)
    os.kill(lab.pids()["node1 node"], signal.SIGKILL)
    until(lambda: "node1 node" not in lab.pids())
    lab.up()
    fields = Path(f"/proc/{lab.pids()['node1 node']}/stat").read_text().rpartition(")")[2].split()
    assert fields[4] == "0", "no controlling terminal"
    output = inside(lab, "alone", intruder.settings, "1")
    assert (output["Seccomp"], output["NoNewPrivs"]) == ("2", "1")


def test_what_it_opens_is_a_pipe_whatever_comes_in_between() -> None:
    flipping = [sys.executable, "-c", program(intruder.flip, 10.0)[2]]
    with subprocess.Popen(flipping, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            until(lambda: int(caught(child.pid), 16) >> signal.SIGUSR1 - 1 & 1)
            child.send_signal(signal.SIGUSR1)
            until(lambda: os.readlink(f"/proc/{child.pid}/fd/1").startswith("/dev"))
            opened = [descriptor for _ in range(20_000) if (descriptor := kind(adopt.pipes(child.pid)[0]))]
        finally:
            child.kill()
    assert {*opened} == {"pipe"}


def caught(pid: int) -> str:
    """The signals that a process has handlers for."""
    return dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())["SigCgt"]


def kind(descriptor: int) -> str:
    """What a descriptor is, which is closed."""
    if descriptor < 0:
        return ""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").split(":")[0]
    finally:
        os.close(descriptor)


def test_what_the_next_one_starts_is_as_confined(lab: OwnLab) -> None:
    before = lab.pids()["alone container/app"]
    old = inside(lab, "alone", intruder.settings, "1")
    os.kill(before, signal.SIGKILL)
    until(lambda: lab.pids().get("alone container/app", before) != before, 20)
    assert inside(lab, "alone", intruder.settings, "1") == old
    assert inside(lab, "alone", intruder.change, "/proc/1/exe")["chmod"] == "EROFS"
