"""Bombs: processes, threads and memory without end. The container alone has to do with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import AGNHOST, MARKS, SLEEP, answer, inside, pod, program, running
from tests.kernel.labkit import NSLAB, ROOT, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS
MB = 1 << 20
PROCESSES, MEMORY = 1024, 512 * MB
MOST = 3000, 1024 * MB
"""What no attack goes beyond, should nothing stop it."""
GROUPS = Path("/sys/fs/cgroup")


def has_groups(kind: str) -> bool:
    """Whether this machine bounds such things by control groups, of either version."""
    unified = GROUPS / "cgroup.subtree_control"
    return (GROUPS / kind / "cgroup.procs").exists() or (unified.exists() and kind in unified.read_text().split())


pids = pytest.mark.skipif(not has_groups("pids"), reason="this machine has no control groups for pids")
memory = pytest.mark.skipif(not has_groups("memory"), reason="this machine has no control groups for memory")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    small = {"resources": {"limits": {"memory": "48Mi"}}}
    huge = {"resources": {"limits": {"memory": str((1 << 64) + 4096)}}}
    pods = [
        pod("bomb", {"app": SLEEP, "beside": SLEEP}),
        pod("hog", {"app": SLEEP}),
        pod("small", {"app": {**SLEEP, **small}, "huge": {**SLEEP, **huge}}),
        pod("neighbour", {"app": {"image": AGNHOST}}),
    ]
    with running(tmp_path_factory.mktemp("lab"), *pods) as made:
        yield made


@pytest.fixture
def others(lab: OwnLab) -> Iterator[None]:
    """Nobody but who attacks has to do with it: the same processes run as before."""
    before = lab.pids()
    yield
    assert lab.pids() == before
    assert lab.differences() == []


@contextmanager
def attacking(lab: OwnLab, where: str, attack: Callable[..., Any], *arguments: object) -> Iterator[dict[str, Any]]:
    """What an attack says while it is under way, until it is told to end."""
    host, _, container = where.partition(":")
    argv = program(attack, *arguments)
    command = [*NSLAB, "exec", f"{lab.name}/{host}", "-c", container or "app", "--", *argv]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=ROOT, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.stdout.read()


@pids
@pytest.mark.usefixtures("others")
def test_a_fork_bomb_meets_its_limit(lab: OwnLab) -> None:
    with attacking(lab, "bomb", intruder.fork_bomb, MOST[0]) as output:
        assert output["answer"] == "EAGAIN"
        assert PROCESSES / 2 < output["had"] < PROCESSES
        for host in ("neighbour", "node1"):
            assert nslab("exec", f"{lab.name}/{host}", "--", "sh", "-c", "echo $(echo well)").stdout == "well\n"
        beside = nslab("exec", f"{lab.name}/bomb", "-c", "beside", "--", "sh", "-c", "echo $(echo well)")
        assert beside.stdout == "well\n", "each container of a pod has its own"
        again = nslab("exec", f"{lab.name}/bomb", "--", "sh", "-c", "echo $(echo well)")
        assert "well" not in again.stdout, "a command is one of the container's processes"


@pids
@pytest.mark.usefixtures("others")
def test_so_do_threads(lab: OwnLab) -> None:
    output = inside(lab, "bomb", intruder.threads, MOST[0])
    assert "can't start new thread" in output["answer"]
    assert output["had"] < PROCESSES


@pids
def test_who_makes_itself_the_nodes_child_is_the_containers(lab: OwnLab) -> None:
    """CLONE_PARENT: the command is over, its processes are the node's children, and still end with the container."""
    before = lab.pids()
    assert inside(lab, "bomb:beside", intruder.siblings, 50)["born"] == 50
    count = ["exec", f"{lab.name}/bomb", "-c", "beside", "--", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"]
    assert int(nslab(*count).stdout) > 50
    os.kill(before["bomb container/beside"], signal.SIGKILL)
    until(lambda: lab.pids().get("bomb container/beside", 0) not in (0, before["bomb container/beside"]), 20)
    assert int(nslab(*count).stdout) < 10
    after = lab.pids()
    assert {name for name, pid in before.items() if after.get(name) != pid} == {"bomb container/beside"}


@memory
@pytest.mark.parametrize("kind", ["anonymous", "file", "segments", "pipes", "sockets"])
@pytest.mark.usefixtures("others")
def test_memory_is_bounded(lab: OwnLab, kind: str) -> None:
    """Whatever kind it is of. Who has too much is killed, and nobody else."""
    assert most_had(lab, "hog", kind) <= MEMORY


@memory
@pytest.mark.usefixtures("others")
def test_a_lab_file_bounds_it_more(lab: OwnLab) -> None:
    assert most_had(lab, "small", "anonymous") <= 48 * MB


@memory
@pytest.mark.usefixtures("others")
def test_a_lab_file_that_asks_for_more_than_there_is_gets_what_there_is(lab: OwnLab) -> None:
    """A number that the kernel would take for another: it counts up to 2^64, and from 0 again."""
    groups = inside(lab, "small:huge", intruder.settings, "1")["groups"]
    (line,) = [line for line in groups.splitlines() if ":memory:" in line or line.startswith("0::/nslab")]
    old = GROUPS / "memory" / line.rsplit(":", 1)[1].lstrip("/") / "memory.limit_in_bytes"
    new = GROUPS / line.rsplit(":", 1)[1].lstrip("/") / "memory.max"
    limit = int((old if old.exists() else new).read_text())
    assert 2 * MB < limit <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def most_had(lab: OwnLab, where: str, kind: str) -> int:
    """How many bytes an attack had when it was ended, or gave up."""
    argv = program(intruder.hog, kind, MOST[1])
    done = nslab("exec", f"{lab.name}/{where}", "-c", "app", "--", *argv)
    assert done.returncode in (0, 137), done.stderr
    last = answer(done.stdout)
    return int(last["had"] if isinstance(last, dict) else last)
