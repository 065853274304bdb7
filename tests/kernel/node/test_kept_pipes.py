"""The pipes of containers when their node's process is killed: the pod's pause process keeps them for the next one."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from nodebench import Bench, alive, until

from nslab.components.kubelet import fdstore
from nslab.objects.plan import Add, Remove

pytestmark = pytest.mark.root

MOVED = "mkfifo /tmp/in; exec 10>&2 3<>/tmp/in 0<&- 1>&- 2>&-; echo ready >&10; while read n <&3; do PRINT; done"
"""As dnsmasq does: its standard error is descriptor 10, and it has no standard streams any more."""
LINES = 2000
"""Three times what a pipe holds."""


def printer(lines: int = LINES) -> str:
    """A script that prints so many lines of 100 bytes, each with the word that it reads, into its descriptor 10."""
    return MOVED.replace("PRINT", f'i=0; while [ $i -lt {lines} ]; do echo "$n $i {"x" * 90}" >&10; i=$((i+1)); done')


def kill(node: int) -> None:
    os.kill(node, signal.SIGKILL)
    until(lambda: not alive(node))


def output(bench: Bench, attempt: int = 0) -> list[str]:
    """What the container printed, without times, and first words only."""
    lines = [line.split(" ", 3)[3] for line in bench.log("pod", "app", attempt=attempt).splitlines()]
    return [" ".join(line.split(" ")[:2]) for line in lines]


def tell(bench: Bench, word: str) -> None:
    assert bench.exec("pod", "container/app", "sh", "-c", f"echo {word} > /tmp/in") == (0, "")


def held(pid: int) -> set[str]:
    """The pipes that a process has open; what it opens and closes meanwhile is none of them."""
    links = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(f"/proc/{pid}/fd/{number}"))
    return {link for link in links if link.startswith("pipe:")}


def kept(pause: int) -> set[str]:
    """The pipes that a pause process keeps for its pod's containers."""
    pidfd = os.pidfd_open(pause)
    store = fdstore.of(pidfd)
    os.close(pidfd)
    assert store
    found = [fd for _, fds in store.found().values() for fd in fds[:2]]
    store.close()
    links = {os.readlink(f"/proc/self/fd/{fd}") for fd in found}
    for fd in found:
        os.close(fd)
    return links


def runs(bench: Bench, restarts: int) -> bool:
    """Whether a container runs after so many restarts."""
    app = bench.status("pod")["containers"]["app"]
    return bool((app["restarts"], app["state"]) == (restarts, "running"))


@pytest.mark.parametrize("share_pid", [False, True])
def test_wherever_a_container_has_them(bench: Bench, share_pid: bool) -> None:
    node = bench.node()
    bench.start(bench.sandbox("pod", share_pid=share_pid), bench.workload("pod", "app", "bash", "-c", printer()))
    until(lambda: output(bench) == ["ready"])
    kill(node)
    tell(bench, "dead")
    app = bench.record("pod", "container/app").pid
    until(lambda: "pipe_write" in Path(f"/proc/{app}/wchan").read_text())
    assert output(bench) == ["ready"]
    for round_ in ("first", "second"):
        node = bench.node()
        tell(bench, round_)
        wanted = f"{round_} {LINES - 1}"
        until(lambda wanted=wanted: output(bench)[-1] == wanted)  # type: ignore[misc]
        kill(node)
    numbered = [f"{word} {number}" for word in ("dead", "first", "second") for number in range(LINES)]
    assert output(bench) == ["ready", *numbered]


def test_last_words_while_nobody_looked(bench: Bench) -> None:
    node = bench.node()
    script = printer(3).replace("done", "done; echo -n end >&10; exit 3", 1)
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "bash", "-c", script, backoff=200.0))
    until(lambda: output(bench) == ["ready"])
    kill(node)
    app = bench.record("pod", "container/app").pid
    bench.exec("pod", "container/app", "sh", "-c", "echo dead > /tmp/in")  # which may end with it
    until(lambda: not alive(app))
    bench.node()
    until(lambda: output(bench, attempt=1) == ["ready"])
    assert output(bench) == ["ready", "dead 0", "dead 1", "dead 2", "end"]


def test_only_those_of_its_present_run_are_kept(bench: Bench) -> None:
    node = bench.node()
    workload = bench.workload("pod", "app", "sh", "-c", "exec sleep 1000", backoff=0.01)
    pause, _, other = bench.start(
        bench.sandbox("pod"), workload, bench.workload("pod", "other", "sh", "-c", "echo hello; exec sleep 1000")
    )
    assert len(before := kept(pause)) == 4
    for number in range(3):
        app = bench.record("pod", "container/app").pid
        os.kill(app, signal.SIGKILL)
        until(lambda number=number: runs(bench, number + 1))  # type: ignore[misc]
    kill(node)
    app = bench.record("pod", "container/app").pid
    assert kept(pause) == {*held(app), *held(other)} != before
    node = bench.node()
    assert {*held(app), *held(other)} <= held(node)
    bench.agents.run([Remove(workload)])
    assert kept(pause) == held(other)
    bench.agents.run([Add(workload)])
    assert len(kept(pause)) == 4


def test_nothing_is_of_what_was_removed_while_nobody_looked(bench: Bench) -> None:
    node = bench.node()
    workload = bench.workload("pod", "app", "sleep", "1000")
    stays = bench.workload("pod", "stays", "sleep", "1000")
    pause, gone, other = bench.start(bench.sandbox("pod"), workload, stays)
    pipes = held(gone)
    kill(node)
    bench.agents.__exit__()
    bench.agents.run([Remove(workload)])
    node = bench.node()
    assert kept(pause) == held(other)
    assert not pipes & held(node)
