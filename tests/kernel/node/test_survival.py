"""`up` may end, the node's process may be killed: what runs goes on, and is found again."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from nodebench import Bench, alive, until

from nslab.linux.processes.agents import Agents
from nslab.linux.processes.procs import end
from nslab.linux.processes.spawner import Interpreter
from nslab.objects.plan import Add, Remove
from nslab.objects.process import NodeAgent

pytestmark = pytest.mark.root

TALKER = "mkfifo /tmp/in; exec 3<>/tmp/in; echo ready; while read line <&3; do echo got $line; done"


def test_the_node_outlives_who_started_it(bench: Bench) -> None:
    node = bench.node()
    bench.start(bench.sandbox("pod"))
    bench.agents.__exit__()
    assert alive(node)
    with Agents(bench.lab, bench.run) as later:
        later.run([Add(bench.workload("pod", "app", "agnhost", "netexec"))])
        assert later.wait_ready(5) == []


def test_the_spawner_ends_with_up(bench: Bench) -> None:
    bench.node()
    (spawner,) = [record for record in bench.records() if record.role == "spawner"]
    bench.agents.__exit__()
    assert not alive(spawner.pid)


def test_a_lab_takes_an_interpreter_that_was_started_before_it_was_known(bench: Bench) -> None:
    bench.add_ns("node1")
    with Interpreter() as early, Agents(bench.lab, bench.run, early) as agents:
        agents.run([Add(NodeAgent(bench.ns("node1"), bench.ns("node1")))])
        assert [record.pid for record in bench.records() if record.role == "spawner"] == [early.pid]


def test_an_interpreter_without_a_lab_ends_at_once_and_is_no_labs(bench: Bench) -> None:
    with Interpreter() as early:
        pid = early.pid
        assert alive(pid)
        assert pid not in [record.pid for record in bench.records()]
    assert not alive(pid)


def test_an_interpreter_ends_with_its_socket() -> None:
    early = Interpreter()
    early.socket.close()  # as when its starter is killed
    assert os.waitstatus_to_exitcode(os.waitpid(early.pid, 0)[1]) == 0
    os.close(early.output)


def test_a_killed_node_is_started_again_and_nothing_is_lost(bench: Bench) -> None:
    node = bench.node()
    workload = bench.workload("pod", "app", "sh", "-c", TALKER)
    pause, app = bench.start(bench.sandbox("pod"), workload)
    until(lambda: "ready" in bench.log("pod", "app"))
    os.kill(node, signal.SIGKILL)
    until(lambda: not alive(node))
    # With nobody to read it, it may print all the same.
    assert bench.exec("pod", "container/app", "sh", "-c", "echo one > /tmp/in") == (0, "")
    assert bench.node() != node
    assert bench.exec("pod", "container/app", "sh", "-c", "echo two > /tmp/in") == (0, "")
    until(lambda: "got two" in bench.log("pod", "app"))
    lines = [line.split(" ", 3)[3] for line in bench.log("pod", "app").splitlines()]
    assert lines == ["ready", "got one", "got two"]
    assert bench.agents.wait_ready(5) == []
    bench.agents.run([Remove(workload), Remove(bench.sandbox("pod"))])
    assert not alive(app)
    assert not alive(pause)


def test_what_an_adopted_container_dies_of_is_unknown_but_that_it_died_is_not(bench: Bench) -> None:
    node = bench.node()
    _, app = bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000", restart="Never"))
    os.kill(node, signal.SIGKILL)
    bench.node()
    os.kill(app, signal.SIGKILL)
    until(lambda: [entry.reason for entry in bench.agents.wait_ready(1)] == ["ended"])


def test_a_shared_pid_namespace_is_adopted_too(bench: Bench) -> None:
    node = bench.node()
    script = "sleep 1000 & sleep 1001 & (sleep 1002 &); wait"
    pods = bench.sandbox("pod", share_pid=True), bench.workload("pod", "app", "sh", "-c", script)
    _, app = bench.start(*pods)
    os.kill(node, signal.SIGKILL)
    bench.node()
    assert [record.pid for record in bench.records() if record.role == "container/app"] == [app]
    bench.agents.run([Remove(obj) for obj in reversed(pods)])
    until(lambda: [record.role for record in bench.records()] == ["spawner", "node"])


def test_stopping_a_node_leaves_nothing(bench: Bench) -> None:
    bench.node()
    bench.start(
        bench.sandbox("one"),
        bench.sandbox("two", share_pid=True),
        bench.workload("one", "app", "agnhost", "netexec"),
        bench.workload("two", "app", "sh", "-c", "sleep 1000 & wait"),
    )
    agent = NodeAgent(bench.ns("node1"), bench.ns("node1"))
    bench.agents.run([Remove(agent)])
    until(lambda: [record.role for record in bench.records()] == ["spawner"])
    bench.agents.run([Remove(agent)])  # what is gone already is no error


def test_everything_is_found_and_ended_without_the_nodes_help(bench: Bench) -> None:
    bench.node()
    # Gone into namespaces of its own, with another environment: it is found by descent.
    hider = "exec env -i unshare --user --map-root-user --net sleep 1000"
    pids = bench.start(
        bench.sandbox("pod"),
        bench.workload("pod", "app", "sh", "-c", f"({hider}) & sleep 1000 & wait"),
        bench.workload("pod", "web", "agnhost", "netexec"),
    )
    found = {record.pid: record for record in bench.records()}
    assert {found[pid].role for pid in pids} == {"pause", "container/app", "container/web"}
    until(lambda: any(record.name == "sleep" and not record.role for record in bench.records()))
    assert end(bench.records(), bench.records) == []
    assert bench.records() == []
    assert bench.processes() == []


def test_a_process_that_forks_on_is_ended(bench: Bench) -> None:
    bench.node()
    storm = "import os\nfor _ in range(300):\n  if os.fork() == 0: continue\n  os._exit(0)\nimport time; time.sleep(99)"
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "python3", "-c", storm, restart="Never"))
    assert end(bench.records(), bench.records) == []
    assert bench.processes() == []


def test_another_process_with_the_same_number_is_spared(bench: Bench) -> None:
    bench.node()
    bench.start(bench.sandbox("pod"))
    record = bench.record("pod", "pause")
    assert end([replace(record, start=record.start - 1)]) == []
    assert alive(record.pid)
