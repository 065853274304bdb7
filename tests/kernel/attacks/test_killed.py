"""After a process of each kind was killed: commands go where they should, `diff` names it, `up` brings it back."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kernel.attacks.forgekit import Small, pod, process, runs, sentence
from tests.kernel.labkit import IP_NETNS, OwnLab, kill, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="takes root")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("killed"))
    made.up()
    yield made
    made.clear()
    assert made.left() == []


PARTS = {
    "node1 node": "node1",
    "control control": "control",
    "node1 kube-proxy": "kube-proxy",
    "node1 tunnel": "tunl0",
    "pod-a pause": "pod-a",
    "pod-a container/app": "pod-a",
}
HERE = ("readlink", "/proc/self/ns/net")


def is_there(lab: OwnLab, host: str) -> bool:
    """Whether a command gets to a host. Else it says so in a sentence, and never gets elsewhere."""
    done = nslab("exec", f"{lab.name}/{host}", "--", *HERE)
    if done.returncode:
        sentence(done)
        return False
    assert done.stdout == f"net:[{os.stat(IP_NETNS / lab.ns(host)).st_ino}]\n"
    return True


@pytest.mark.parametrize("part", PARTS)
def test_what_was_killed_is_named_and_comes_back_and_nothing_else_is_touched(lab: OwnLab, part: str) -> None:
    before = lab.pids()
    os.kill(before[part], signal.SIGKILL)
    until(lambda: not runs(before[part]))
    for host in ("node1", "pod-a"):
        assert is_there(lab, host) or PARTS[part] in ("node1", "pod-a")
    # A container that ended starts again by itself.
    assert PARTS[part] in "\n".join(lab.differences()) or part.endswith("/app")
    lab.up()
    after = lab.pids()
    assert after.keys() == before.keys()
    gone = {"pod-a pause", "pod-a container/app"} if part == "pod-a pause" else {part}
    assert {name for name in before if before[name] != after[name]} == gone
    assert nslab("diff", lab.name).returncode == 0


def test_all_at_once(lab: OwnLab) -> None:
    for pid in lab.pids().values():
        os.kill(pid, signal.SIGKILL)
    assert not is_there(lab, "node1")
    assert not is_there(lab, "pod-a")
    lab.up()
    assert is_there(lab, "node1")
    assert is_there(lab, "pod-a")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path, pod("one"), pod("shared", share=True))
    made.up()
    yield made
    made.clear()
    assert made.left() == []


def test_down_needs_nobodys_help_and_signals_nobody_else(small: Small) -> None:
    """Everything but the containers is dead; beside them are others, of root's and not."""
    marks = (f"{small.ns('one')} container/app", f"{small.ns('node1')} node")
    pids = small.pids()
    for part in ("node1 node", "one pause"):
        os.kill(pids[part], signal.SIGKILL)
    with process(mark=marks[0], user=0) as roots, process(mark=marks[1]) as other:
        small.down()
        assert [pid for pid in pids.values() if runs(pid)] == []
        assert runs(roots)
        assert runs(other)


def test_a_dead_nodes_pods_are_found_by_what_was_written_alone(small: Small) -> None:
    """Processes in the pod that look the same: the same name, the same command, the same mark, the parent's child."""
    mark = f"{small.ns('one')} container/app"
    line = f"for _ in 1 2 3; do NSLAB='{mark}' setsid sleep 1000 > /dev/null 2>&1 & done"
    assert nslab("exec", f"{small.name}/one", "--", "sh", "-c", line).returncode == 0
    pids = small.pids()
    kill(pids["node1 node"])
    small.up()
    assert small.pids()["one container/app"] == pids["one container/app"]
    os.kill(small.pids()["node1 node"], signal.SIGKILL)
    os.kill(pids["one container/app"], signal.SIGKILL)
    until(lambda: not runs(pids["one container/app"]))
    sentence(nslab("exec", f"{small.name}/one", "--", "hostname"))
    small.up()
    assert nslab("exec", f"{small.name}/one", "--", "hostname").stdout == "one\n"
    assert nslab("diff", small.name).returncode == 0
