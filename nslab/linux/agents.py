"""Talking to the nodes' processes: `up` asks them to start and end what runs, and whether it became ready."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nslab import syscall
from nslab.errors import Refused
from nslab.net import shell
from nslab.net.names import netns
from nslab.net.objects import NodeAgent, Process, Sandbox, TunnelAgent, Workload
from nslab.net.steps import Add, Remove, Replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from nslab.net.steps import Step

MAIN = Path(__file__).parent.parent / "node" / "main.py"
PATIENCE = 10.0
"""Seconds that a node's process may take to answer a request."""
_PAD = "x" * 400  # of arguments, and of environment: processes that only fork write over both (see nslab.node.marks)
_ENVIRONMENT = "." * 16384


class NotReady:
    """A container that did not become ready: why, and the last that it printed."""

    def __init__(self, node: str, pod: str, container: str, reason: str, output: str) -> None:
        self.node, self.pod, self.container, self.reason, self.output = node, pod, container, reason, output

    def __str__(self) -> str:
        said = "".join(f"\n    {line}" for line in self.output.splitlines())
        return f"{self.pod}/{self.container} on {self.node}: {self.reason}{said}"


class Line:
    """A connection to the process of one node: lines out, lines in, each waited for until a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._received = b""

    def send(self, requests: Sequence[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
        """Send all, and read what is answered meanwhile, so that neither side waits for the other to read."""
        data = memoryview(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        answers: list[dict[str, Any]] = []
        while data:
            events = self._poll(deadline, select.POLLOUT | select.POLLIN)
            if events & select.POLLOUT:
                data = data[self.socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
            if events & select.POLLIN:
                answers += self._read()
        return answers

    def receive(self, count: int, deadline: float) -> list[dict[str, Any]]:
        """So many answers."""
        answers: list[dict[str, Any]] = []
        while len(answers) < count:
            self._poll(deadline, select.POLLIN)
            answers += self._read()
        return answers

    def _poll(self, deadline: float, events: int) -> int:
        poll = select.poll()
        poll.register(self.socket, events)
        happened = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not happened:
            raise TimeoutError("the node's process does not answer")
        return happened[0][1]

    def _read(self) -> list[dict[str, Any]]:
        block = self.socket.recv(1 << 18, socket.MSG_DONTWAIT)
        if not block:
            raise ConnectionResetError("the node's process ended")
        *lines, self._received = (self._received + block).split(b"\n")
        return [json.loads(line) for line in lines]


class Agents:
    """The processes of a lab's nodes, reached through sockets in `run`, the lab's folder."""

    def __init__(self, lab: str, run: Path) -> None:
        self._lab, self._run = lab, run
        self._lines: dict[str, Line] = {}
        self._spawner: socket.socket | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        if self._spawner:
            self._spawner.close()  # it ends on that
            os.waitpid(self._pid, 0)
            self._spawner = None

    def warm(self) -> None:
        """Start the process that nodes are forked from, and return at once; it boots meanwhile."""
        if self._spawner:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        argv = [sys.executable, "-IS", str(MAIN), str(theirs.fileno()), _PAD]
        # The mark, and room for those of its children.
        environment = {"NSLAB": f"{netns(self._lab, '')} spawner {_ENVIRONMENT}"}
        # A process group of its own: Ctrl-C is for us, who need its help to roll back. We may be blocking signals.
        self._pid = os.posix_spawn(
            sys.executable, argv, environment, setpgroup=0, setsigmask=[], setsigdef=[signal.SIGPIPE]
        )
        theirs.close()
        self._spawner = ours

    def run(self, steps: Sequence[Step]) -> list[int]:
        """Do steps, many at a time; the numbers of the processes started (0 for ended ones)."""
        pids: list[int] = []
        batch: list[Step] = []
        for step in steps:
            if isinstance(step.obj, NodeAgent):
                pids += self._flush(batch, steps)
                pids.append(self._node(step, step.obj, steps[: len(pids)]))
            else:
                if batch and _node_of(batch[0]) != _node_of(step):
                    pids += self._flush(batch, steps)
                batch.append(step)
        return pids + self._flush(batch, steps)

    def _flush(self, batch: list[Step], steps: Sequence[Step]) -> list[int]:
        if not batch:
            return []
        done = steps[: steps.index(batch[0])]
        pids = self._pipeline(_node_of(batch[0]), batch, done)
        batch.clear()
        return pids

    def _node(self, step: Step, agent: NodeAgent, done: Sequence[Step]) -> int:
        try:
            if isinstance(step, Remove):
                self.stop(agent)
                return 0
            self._start(agent.ns)
            return _checked(self._lines[agent.ns].receive(1, time.monotonic() + PATIENCE)[0])
        except OSError as error:
            self._hang_up(agent.ns)
            raise Refused(shell.command(step), _words(error), done) from error

    def _start(self, ns: str) -> None:
        self.warm()
        assert self._spawner
        self._hang_up(ns)  # the line to an earlier process
        ours, theirs = socket.socketpair()
        names = os.open(self._run / "ns", os.O_PATH | os.O_CLOEXEC)
        # A mount cannot be bound from another mount namespace; a copy that lies nowhere can be carried there.
        folder = syscall.open_tree(str(self._run))
        request = json.dumps({"ns": ns, "run": str(self._run)}).encode()
        try:
            socket.send_fds(self._spawner, [request], [names, folder, theirs.fileno()])
        finally:
            os.close(names)
            os.close(folder)
            theirs.close()
        self._lines[ns] = Line(ours)

    def _pipeline(self, node: str, steps: Sequence[Step], done: Sequence[Step]) -> list[int]:
        requests = [(step, request) for step in steps for request in _requests(step)]
        deadline = time.monotonic() + PATIENCE
        try:
            line = self._line(node)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if all(isinstance(step, Remove) for step in steps):
                return self._bereaved(steps)
            raise Refused(shell.command(steps[0]), _words(error), done) from error
        try:
            answers = line.send([request for _, request in requests], deadline)
            answers += line.receive(len(requests) - len(answers), deadline)
        except OSError as error:
            self._hang_up(node)
            raise Refused(shell.command(steps[0]), _words(error), done) from error
        pids: list[int] = []
        refused: list[tuple[Step, str]] = []
        for (step, request), answer in zip(requests, answers, strict=True):
            if "error" in answer:
                refused.append((step, answer["error"]))
            elif request["op"] == "add" or isinstance(step, Remove):
                pids.append(answer.get("pid", 0))
        if refused:
            said_no = {id(step) for step, _ in refused}
            step, reason = refused[0]
            raise Refused(shell.command(step), reason, [*done, *(s for s in steps if id(s) not in said_no)])
        return pids

    def _bereaved(self, steps: Sequence[Step]) -> list[int]:
        """End processes whose node's process, which would do it, is dead."""
        from nslab.linux import owned, procs

        keys = {step.obj.key for step in steps}
        procs.end([record for record in owned.processes(self._lab) if ("Process", record.ns, record.role) in keys])
        return [0] * len(steps)

    def _line(self, node: str) -> Line:
        """The connection to a node's process, which runs already if it was not started here."""
        if node not in self._lines:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            folder = os.open(self._run / "nodes", os.O_PATH | os.O_CLOEXEC)
            try:
                # By descriptor: the path of a socket has 107 bytes at most.
                connection.connect(f"/proc/self/fd/{folder}/{node.rsplit('.', 1)[1]}.sock")
            except OSError:
                connection.close()
                raise
            finally:
                os.close(folder)
            self._lines[node] = Line(connection)
        return self._lines[node]

    def wait_ready(self, seconds: float) -> list[NotReady]:
        """Wait until the containers of all nodes talked to are ready or have failed; those that are not ready."""
        deadline = time.monotonic() + seconds + PATIENCE
        found: list[NotReady] = []
        try:
            for line in self._lines.values():
                line.send([{"op": "wait", "deadline": seconds}], deadline)
            for node, line in self._lines.items():
                answer = line.receive(1, deadline)[0]
                found += [NotReady(node.rsplit(".", 1)[1], **entry) for entry in answer["not_ready"]]
        except BaseException as error:
            self._hang_up()  # or the answer that we no longer wait for would be taken for that to the next request
            if isinstance(error, OSError):
                raise Refused("waiting for the containers", _words(error)) from error
            raise
        return found

    def stop(self, agent: NodeAgent) -> None:
        """End a node's process, and what it still is the parent of. It may be gone already."""
        deadline = time.monotonic() + PATIENCE
        try:
            line = self._line(agent.ns)
            line.send([{"op": "stop"}], deadline)
            line.receive(1, deadline)
        except (FileNotFoundError, ConnectionError):
            pass
        finally:
            self._hang_up(agent.ns)

    def _hang_up(self, *nodes: str) -> None:
        """Close the lines to these nodes, or all."""
        for node in nodes or tuple(self._lines):
            if node in self._lines:
                self._lines.pop(node).socket.close()


def _requests(step: Step) -> Iterator[dict[str, Any]]:
    match step:
        case Add(obj=obj):
            yield {"op": "add", **_fields(obj)}
        case Remove(obj=obj):
            yield {"op": "remove", **_fields(obj)}
        case Replace(old=old, obj=obj):
            yield {"op": "remove", **_fields(old)}
            yield {"op": "add", **_fields(obj)}


def _fields(obj: object) -> dict[str, Any]:
    match obj:
        case TunnelAgent():
            return {"what": "TunnelAgent", "ns": obj.ns, "dev": obj.dev, "local": str(obj.local)}
        case Sandbox():
            pod = _named(obj, "ns", "namespace", "pod", "uid", "hostname", "share_pid", "resolv_conf")
            return {"what": "Sandbox", **pod, "address": str(obj.address)}
        case Workload():
            what = _named(obj, "ns", "container", "argv", "env", "working_dir", "port")
            number = hashlib.sha256(f"{obj.ns}/{obj.container}".encode()).hexdigest()
            return {"what": "Workload", **what, "number": number}
        case _:
            raise TypeError(f"{obj!r} is no process of a node")


def _named(obj: Process, *names: str) -> dict[str, Any]:
    return {name: getattr(obj, name) for name in names}


def _node_of(step: Step) -> str:
    assert isinstance(step.obj, Process)
    return step.obj.node


def _checked(answer: dict[str, Any]) -> int:
    if "error" in answer:
        raise OSError(answer["error"])
    return int(answer["pid"])


def _words(error: OSError) -> str:
    return error.strerror or str(error)
