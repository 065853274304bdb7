"""Pause and what containers of one pod share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from nodebench import Bench, alive, until

pytestmark = pytest.mark.root


def private(pid: int) -> int:
    """kB of memory that the process shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def test_processes_show_what_they_are(bench: Bench) -> None:
    node = bench.node()
    pause, app = bench.start(bench.sandbox("pod-b"), bench.workload("pod-b", "app", "agnhost", "netexec"))
    shown = {pid: Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0") for pid in (node, pause, app)}
    assert shown == {node: "nslab-node node1", pause: "pause", app: "agnhost netexec"}
    assert Path(f"/proc/{pause}/comm").read_text() == "pause\n"
    marks = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[0].decode() for pid in (node, pause, app)}
    assert marks[node] == f"NSLAB={bench.ns('node1')} node"
    assert marks[pause] == f"NSLAB={bench.ns('pod-b')} pause"
    assert marks[app] == f"NSLAB={bench.ns('pod-b')} container/app"


def test_a_pause_is_small(bench: Bench) -> None:
    bench.node()
    pids = bench.start(*(bench.sandbox(f"pod-{number}") for number in range(8)))
    assert max(map(private, pids)) < 1400


def test_two_containers_share_the_loopback_and_differ_by_port(bench: Bench) -> None:
    bench.node()
    bench.start(
        bench.sandbox("pod"),
        bench.workload("pod", "one", "agnhost", "netexec", "--http-port=8000", "--udp-port=-1"),
        bench.workload("pod", "two", "agnhost", "netexec", "--http-port=8080", "--udp-port=-1"),
    )
    for container, port in (("one", 8080), ("two", 8000)):
        status, output = bench.exec("pod", f"container/{container}", "curl", "-sS", f"http://127.0.0.1:{port}/hostname")
        assert (status, output) == (0, "pod")
    until(lambda: " /hostname" in bench.log("pod", "one"))


def test_shares_ipc_and_hostname_but_not_processes(bench: Bench) -> None:
    bench.node()
    pause, one, two = bench.start(
        bench.sandbox("pod"),
        bench.workload("pod", "one", "sleep", "1000"),
        bench.workload("pod", "two", "sleep", "1000"),
    )

    def kind(name: str) -> list[str]:
        return [os.readlink(f"/proc/{pid}/ns/{name}") for pid in (pause, one, two)]

    for shared in ("net", "uts", "ipc"):
        assert len(set(kind(shared))) == 1
        assert kind(shared)[0] != os.readlink(f"/proc/self/ns/{shared}")
    assert len(set(kind("pid"))) == 3
    assert len(set(kind("mnt"))) == 3


def test_pause_is_init_of_a_shared_pid_namespace_and_reaps(bench: Bench) -> None:
    bench.node()
    pause, app = bench.start(
        bench.sandbox("pod", share_pid=True), bench.workload("pod", "app", "sh", "-c", "exec sleep 1000")
    )
    assert os.readlink(f"/proc/{pause}/ns/pid") == os.readlink(f"/proc/{app}/ns/pid")
    assert bench.exec("pod", "container/app", "cat", "/proc/1/comm") == (0, "pause\n")
    # An orphan: its parent ends at once, it soon after. Its own number comes out of the shell.
    output = bench.exec("pod", "container/app", "sh", "-c", "sh -c 'sleep 0.05 & echo $!'")[1]
    until(lambda: bench.exec("pod", "container/app", "test", "-e", f"/proc/{output.strip()}")[0] == 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_ends_on_a_signal(bench: Bench, number: signal.Signals) -> None:
    bench.node()
    pause, app = bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000"))
    os.kill(pause, number)
    until(lambda: not alive(pause))
    # Without its sandbox there is no pod.
    until(lambda: not alive(app))


def test_a_node_has_its_own_run_and_logs(bench: Bench) -> None:
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sh", "-c", "echo hello; exec sleep 1000"))
    assert bench.exec("node1", "node", "hostname") == (0, "node1\n")
    assert bench.exec("node1", "node", "sh", "-c", "touch /run/xtables.lock; ls /run/xtables.lock")[0] == 0
    assert bench.exec("node1", "node", "ls", "/sys/class/net")[1] == "lo\n"
    until(lambda: "hello" in bench.log("pod", "app"))
    status, output = bench.exec("node1", "node", "sh", "-c", "cat /var/log/containers/pod_default_app-*.log")
    assert status == 0
    assert output.endswith("stdout F hello\n")
    assert not os.path.exists("/var/log/pods")
    # Few mounts: the names of other namespaces, of this lab or another, are not among them.
    assert not [line for line in bench.exec("node1", "node", "cat", "/proc/mounts")[1].splitlines() if "nsfs" in line]
