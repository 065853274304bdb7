"""Requests to the nodes' processes: start and end containers and daemons, and wait until they are ready."""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import time
from typing import TYPE_CHECKING, Any, Self

from nslab import rundir
from nslab.errors import Refused, about
from nslab.linux import owned
from nslab.linux.packages import advice
from nslab.linux.processes import procs
from nslab.linux.processes.connection import TIMEOUT, Connection
from nslab.linux.processes.last_words import last_words
from nslab.linux.processes.spawner import Spawner
from nslab.objects import names
from nslab.objects import script as shell
from nslab.objects.container import Workload
from nslab.objects.plan import Add, Remove, Replace
from nslab.objects.process import Control, NodeAgent, Process, Supervised
from nslab.runtime import rpc
from nslab.runtime.journal import forget

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from nslab.linux.processes.spawner import Interpreter
    from nslab.objects.base import KernelObject, Step

LATE = 1.0
"""Seconds that a process may take to end which was killed."""
_MISSING = re.compile(r"^exec ([\w.+-]+): No such file|([\w.+-]+): (?:command )?not found$", re.MULTILINE)
"""The message of the runtime, or of a shell, about a program that this machine lacks."""


class NotReady:
    """A container that did not become ready: the reason, and the end of its output."""

    def __init__(self, node: str, pod: str, container: str, reason: str, output: str) -> None:
        self.node, self.pod, self.container, self.reason, self.output = node, pod, container, reason, output

    def __str__(self) -> str:
        indented = "".join(f"\n    {line}" for line in self.output.splitlines())
        missing = _MISSING.search(f"{self.reason}\n{self.output}")
        how = advice(missing[1] or missing[2]) if missing else ""
        return f"{self.pod}/{self.container} on {self.node}: {self.reason}{how and f' ({how})'}{indented}"


class Agents:
    """The processes of a lab's nodes, reached through sockets in `run`, the lab's folder. `early`: see Spawner."""

    def __init__(self, lab: str, run: Path, early: Interpreter | None = None) -> None:
        self._lab, self._run = lab, run
        self._lines: dict[str, Connection] = {}
        self._spawner = Spawner(lab, run, early)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._spawner.close()

    def prefork(self) -> None:
        """Start the spawner, and return at once while it boots."""
        self._spawner.start()

    def spawn(self, what: str, ns: str) -> socket.socket:
        """Have the spawner fork a process of kind `what` for the node of a namespace; return the connection to it."""
        return self._spawner.fork(what, ns)

    def run(self, steps: Sequence[Step]) -> list[int]:
        """Run steps and return the pids of the started processes (0 for ended ones), or raise Refused.

        A node runs its own steps in order; nodes do not wait for each other.
        """
        pids: list[int] = []
        for ours, some in itertools.groupby(steps, lambda step: isinstance(step.obj, NodeAgent | Control)):
            batch = list(some)
            outcomes = self._ours(batch) if ours else self._at_nodes(batch)
            refused = [(step, reason) for step, reason in zip(batch, outcomes, strict=True) if isinstance(reason, str)]
            if refused:
                refused_ids = {id(step) for step, _ in refused}
                done = [*steps[: len(pids)], *(step for step in batch if id(step) not in refused_ids)]
                raise Refused(shell.command(refused[0][0]), refused[0][1], done)
            pids += [pid for pid in outcomes if isinstance(pid, int)]
        return pids

    def _ours(self, batch: Sequence[Step]) -> list[int | str]:
        """Start and end the processes of nodes, and control: for each step a pid, or an error."""
        outcomes: dict[int, int | str] = {}
        for step in batch:
            assert isinstance(step.obj, NodeAgent | Control)
            outcomes[id(step)] = self._begin(step, step.obj)
        for step in batch:
            if not isinstance(step, Remove) and outcomes[id(step)] == 0:
                (answer,) = self._receive(step.obj.ns, [], 1)
                outcomes[id(step)] = answer.get("error") or int(answer["pid"])
                if isinstance(step.obj, Control):
                    self._close(step.obj.ns)  # `wait_ready` asks only nodes
        return [outcomes[id(step)] for step in batch]

    def _begin(self, step: Step, agent: NodeAgent | Control) -> int | str:
        """End a process, or begin to start one, whose first message has its pid. Returns 0, or an error."""
        try:
            if not isinstance(step, Add):
                self.stop(agent)
            if not isinstance(step, Remove):
                self._start(agent)
        except OSError as error:
            self._close(agent.ns)
            return self._why(error, agent.ns)
        return 0

    def _at_nodes(self, batch: Sequence[Step]) -> list[int | str]:
        """Have the nodes' processes start and end others: for each step a pid, or an error."""
        requests: dict[str, list[tuple[Step, dict[str, Any]]]] = {}
        for step in batch:
            requests.setdefault(_node_of(step), []).extend((step, request) for request in _requests(step))
        early = {node: self._send(node, mine) for node, mine in requests.items()}
        outcomes: dict[int, int | str] = {}
        for node, mine in requests.items():
            for (step, _), answer in zip(mine, self._receive(node, early[node], len(mine)), strict=True):
                # A Replace is two requests: one refusal is enough.
                if not isinstance(outcomes.get(id(step)), str):
                    outcomes[id(step)] = answer.get("error") or int(answer.get("pid", 0))
        return [outcomes[id(step)] for step in batch]

    def _send(self, node: str, requests: Sequence[tuple[Step, dict[str, Any]]]) -> list[dict[str, Any]]:
        """Send a node its requests and return the answers that arrive meanwhile."""
        try:
            return self._line(node).send([request for _, request in requests], time.monotonic() + TIMEOUT)
        except OSError as error:
            dead = isinstance(error, FileNotFoundError | ConnectionRefusedError)
            if dead and all(isinstance(step, Remove) for step, _ in requests):
                return self._end_for_dead_node([step for step, _ in requests])
            return self._all_failed(node, error, len(requests))

    def _receive(self, node: str, early: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """Return `count` answers of a node, including the early ones."""
        try:
            while len(early) < count:
                early += self._lines[node].receive(1, time.monotonic() + TIMEOUT)
        except OSError as error:
            return self._all_failed(node, error, count)
        if len(early) > count:
            surplus = OSError(early[-1].get("error", "its process sent more answers than requested"))
            return self._all_failed(node, surplus, count)
        return early

    def _all_failed(self, node: str, error: OSError, count: int) -> list[dict[str, Any]]:
        """Answer for a node whose connection failed: an error for each request."""
        self._close(node)
        return [{"error": self._why(error, node)}] * count

    def _why(self, error: OSError, node: str) -> str:
        """The error of a connection; of a broken one, with the last line of the node's process, or of the spawner."""
        last = ""
        if isinstance(error, ConnectionError):
            last = last_words(self._run, names.host(node)) or self._spawner.last_line()
        return f"{_words(error)}: {last}" if last else _words(error)

    def _start(self, agent: NodeAgent | Control) -> None:
        self._close(agent.ns)  # the connection to an earlier process
        self._lines[agent.ns] = Connection(self.spawn(agent.role, agent.ns))

    def _end_for_dead_node(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        """End processes whose node's process is dead, and answer in its place."""
        keys = {(step.obj.ns, step.obj.key[2]) for step in steps}
        procs.end([record for record in owned.processes(self._lab) if (record.ns, record.role) in keys])
        for step in steps:
            if isinstance(step.obj, Workload):
                # Otherwise the node's next process would take it for a container that ended by itself, and restart it.
                journal = self._run / rundir.node(names.host(step.obj.node), rundir.JOURNAL)
                with about(journal):
                    forget(str(journal), step.obj.ns, step.obj.container)
        return [{"ok": True}] * len(steps)

    def _line(self, node: str) -> Connection:
        """The connection to a node's process; opens it if this object did not start the process."""
        if node not in self._lines:
            host = names.host(node)
            socket_path = rundir.CONTROL_SOCKET if host == names.CONTROL else rundir.node(host, rundir.SOCKET)
            self._lines[node] = Connection(rpc.connect(self._run / socket_path))
        return self._lines[node]

    def wait_ready(self, seconds: float, containers: Collection[tuple[str, str]] | None = None) -> list[NotReady]:
        """Wait until the containers of all connected nodes are ready or have failed; return those not ready.

        `containers`: these alone, by their namespaces and names.
        """
        deadline = time.monotonic() + seconds + TIMEOUT
        found: list[NotReady] = []
        node = next(iter(self._lines), "")
        wanted = {} if containers is None else {"containers": [*containers]}
        try:
            for line in self._lines.values():
                line.send([{"op": "wait", "deadline": seconds, **wanted}], deadline)
            for node, line in self._lines.items():
                answer = line.receive(1, deadline)[0]
                if "error" in answer:
                    raise OSError(answer["error"])
                found += [NotReady(names.host(node), **entry) for entry in answer["not_ready"]]
        except BaseException as error:
            self._close()  # otherwise the late answer would be taken for the answer to the next request
            if isinstance(error, OSError):
                raise Refused("waiting for the containers", self._why(error, node)) from error
            raise
        return found

    def terminate(self, pods: Mapping[str, Mapping[str, float]]) -> None:
        """Have nodes end pods: of each node the pods, by their namespaces, with the seconds that they have for it.

        A node whose process is dead ends nothing; what runs there is killed when it is removed.
        """
        for node, seconds in pods.items():
            self._at_node(node, {"op": "terminate", "pods": {**seconds}}, TIMEOUT)

    def wait_terminated(self, pods: Mapping[str, Mapping[str, float]]) -> None:
        """Wait until nothing of these runs any more, or their time is over."""
        for node, seconds in pods.items():
            longest = max(seconds.values(), default=0.0) + LATE
            self._at_node(node, {"op": "wait-terminated", "pods": [*seconds], "deadline": longest}, longest + TIMEOUT)

    def wait_any_terminated(self, pods: Mapping[str, Sequence[str]], seconds: float) -> None:
        """Wait until one of these pods, by node, has ended, so long at most. Not to be asked anything afterwards."""
        poll, deadline = select.poll(), time.monotonic() + max(seconds, 0.0)
        for node, some in pods.items():
            with contextlib.suppress(OSError):
                request = {"op": "wait-terminated", "pods": [*some], "any": True, "deadline": max(seconds, 0.0)}
                self._line(node).send([request], deadline + TIMEOUT)
                poll.register(self._lines[node].socket, select.POLLIN)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        self._close()

    def _at_node(self, node: str, request: dict[str, Any], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        try:
            line = self._line(node)
            _ = line.send([request], deadline) or line.receive(1, deadline)
        except OSError:
            self._close(node)
        except BaseException:
            self._close(node)  # its answer would be taken for that to the next request
            raise

    def stop(self, agent: NodeAgent | Control) -> None:
        """End control, or a node's process with its remaining children. It may have ended already."""
        deadline = time.monotonic() + TIMEOUT
        try:
            line = self._line(agent.ns)
            line.send([{"op": "stop"}], deadline)
            line.receive(1, deadline)
        except (FileNotFoundError, ConnectionError):
            pass
        finally:
            self._close(agent.ns)

    def _close(self, *nodes: str) -> None:
        """Close the connections to these nodes, or all."""
        for node in nodes or tuple(self._lines):
            if node in self._lines:
                self._lines.pop(node).socket.close()


def _requests(step: Step) -> Iterator[dict[str, Any]]:
    match step:
        case Add(obj=obj):
            yield {"op": "add", **_supervised(obj).request()}
        case Remove(obj=obj):
            yield {"op": "remove", **_supervised(obj).request()}
        case Replace(old=old, obj=obj):
            yield from _supervised(obj).changing(_supervised(old))


def _supervised(obj: KernelObject) -> Supervised:
    assert isinstance(obj, Supervised)
    return obj


def _node_of(step: Step) -> str:
    assert isinstance(step.obj, Process)
    return step.obj.node


def _words(error: OSError) -> str:
    return error.strerror or str(error)
