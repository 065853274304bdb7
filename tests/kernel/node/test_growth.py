"""What is asked a thousand times costs no more memory than what is asked once: nobody collects cycles here."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.processes.connection import Connection
from nslab.objects.plan import Add
from nslab.objects.process import Control
from nslab.runtime.rpc import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from nodebench import Bench

pytestmark = pytest.mark.root

GROWN = 150
"""kB that a thousand conversations may leave: 150 bytes each, where a whole connection was left each time."""


def memory(pid: int) -> int:
    """kB of a process's own memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def ask(path: Path, *requests: dict[str, Any]) -> None:
    """A connection of its own, these requests, and their answers."""
    connection = connect(path)
    line = Connection(connection)
    deadline = time.monotonic() + 10
    answers = line.send(requests, deadline)
    answers += line.receive(len(requests) - len(answers), deadline)
    connection.close()
    assert [answer for answer in answers if "error" in answer] == []


def growth(pid: int, call: Callable[[int], None], times: int = 1000) -> int:
    """kB that a process grows by while it is called so often, when it has found its size.

    The less of two rounds: pages become its own, too, when another process that shared them ends.
    """
    for number in range(times // 2):
        call(number)
    grown = GROWN
    for _ in range(2):
        before = memory(pid)
        for number in range(times):
            call(number)
        grown = min(grown, memory(pid) - before)
        if grown < GROWN:
            break
    return grown


def test_control(bench: Bench) -> None:
    bench.add_ns("control")
    (pid,) = bench.agents.run([Add(Control(bench.ns("control"), bench.ns("control")))])
    door = bench.run / "control.sock"
    services = [{"namespace": "default", "name": "web", "ports": []}]
    for requests in (
        [{"op": "get"}],
        [{"op": "put", "services": services}],
        [{"op": "status", "node": "node1", "pods": {}}],
    ):
        assert growth(pid, lambda _, requests=requests: ask(door, *requests)) < GROWN, requests  # type: ignore[misc]


def test_node(bench: Bench) -> None:
    pid = bench.node()
    bench.start(bench.sandbox("pod"))
    door = bench.run / "nodes/node1.sock"
    assert growth(pid, lambda _: ask(door, {"op": "wait", "deadline": 1})) < GROWN

    def container(number: int) -> None:
        named = {"what": "Workload", "ns": bench.ns("pod"), "container": f"app{number % 50}"}
        spec = {"argv": ["true"], "env": [], "working_dir": "/", "port": 0, "number": f"{number:064}"}
        ask(door, {"op": "add", **named, **spec}, {"op": "wait", "deadline": 5}, {"op": "remove", **named})

    assert growth(pid, container, 300) < GROWN


@pytest.mark.parametrize("output", [b"GET /hostname HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HT"])
def test_agnhost(bench: Bench, output: bytes) -> None:
    bench.node()
    _, pid = bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "agnhost", "netexec"))

    def call(_: int) -> None:
        with socket.create_connection(("127.0.0.1", 8080), 5) as client:
            client.sendall(output)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass

    grown: list[int] = []
    bench.inside("pod", lambda: grown.append(growth(pid, call)))
    assert grown[0] < GROWN
