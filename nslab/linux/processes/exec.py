"""Run a command beside a process of a lab: its node's process forks it, and this one copies its streams.

If stdin and stdout are a terminal, the command gets a terminal of its own, else pipes. Its stderr goes to its stdout
if ours does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Never, Self

from nslab import rundir
from nslab.dataclass import dataclass
from nslab.errors import NslabError, Stopped
from nslab.linux.processes import terminal
from nslab.linux.processes.connection import TIMEOUT
from nslab.linux.processes.stdin import stdin
from nslab.linux.processes.streams import Collected, Input, Output, Relay, relay
from nslab.objects.names import netns
from nslab.runtime import rpc

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

PASSED_ON = ("TERM", "LANG", "LC_ALL", "COLORTERM", "NO_COLOR")
"""The variables that tell a shell inside about the terminal outside."""
_DESCRIPTORS = 3
_FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What to run, and in which container of which host; without a container on the machine `host` itself.

    `node`: the node whose process forks it. `stand_in`: the process to spawn if that does not run: `exec` if it was
    killed, `alone` for a host that never has one.
    """

    lab: str
    host: str
    node: str
    container: str
    argv: Sequence[str]
    stand_in: str = "exec"


class NotRunning(NslabError):
    """The container or host of a command does not run."""


def attach(run: Path, command: ExecRequest) -> int:
    """Run a command on our own standard streams and return its exit status (128 + N if signal N ended it).

    127: the command does not exist; 126: it is not executable.
    """
    apart = not os.path.sameopenfile(1, 2)
    if terminal.is_ours(0, 1):
        rows, columns = terminal.size(1)
        ways = {"tty": True, "stderr": apart, "rows": rows, "columns": columns, "modes": terminal.modes(0)}
        with _Session(run, command, ways) as session:
            return _at_terminal(session)
    with _Session(run, command, {"tty": False, "stderr": apart}) as session:
        return _at_pipes(session)


def communicate(run: Path, command: ExecRequest, text: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command with `text` as its input and return its output. After TimeoutExpired no process of it is left."""
    deadline = time.monotonic() + timeout
    with _Session(run, command, {"tty": False, "stderr": True}) as session:
        given, output, complained = session.descriptors
        texts = iter([text.encode()] if text else [])
        out, err = Collected(output), Collected(complained)
        try:
            session.relay([Input(given, -1, lambda: next(texts, b"")), out, err], deadline)
        except BaseException as error:
            session.kill()
            if isinstance(error, TimeoutError):
                raise subprocess.TimeoutExpired(list(command.argv), timeout, _text(out), _text(err)) from None
            raise
        return subprocess.CompletedProcess(list(command.argv), session.status, _text(out), _text(err))


def _text(stream: Collected) -> str:
    # The same conversion as in subprocess.
    return stream.data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _at_terminal(session: _Session) -> int:
    master, *errors = session.descriptors

    def resize() -> None:
        terminal.resize(master, like=1)

    keys = Input(os.dup(master), 0, _keys)
    forwarded = {number: session.forward(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    ends = {number: _end(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with terminal.handled({**forwarded, **ends, signal.SIGWINCH: resize}), terminal.raw(0, resize):
        resize()
        session.relay([keys, Output(master, 1), *(Output(source, 2) for source in errors)])
    return session.status


def _keys() -> bytes:
    typed = b""
    with contextlib.suppress(OSError):
        typed = os.read(0, 1 << 12)
    if not typed:
        raise Stopped(signal.SIGHUP)  # a raw terminal returns EOF only after a hangup
    return typed


def _end(number: signal.Signals) -> Callable[[], Never]:
    def end() -> Never:
        signal.signal(number, signal.SIG_IGN)
        raise Stopped(number)

    return end


def _at_pipes(session: _Session) -> int:
    given, output, *errors = session.descriptors

    def stop() -> None:
        session.signal(signal.SIGSTOP)
        signal.raise_signal(signal.SIGSTOP)

    calls = {number: session.forward(number) for number in (*_FORWARDED, signal.SIGCONT)}
    with terminal.handled({**calls, signal.SIGTSTP: stop}):
        session.relay([stdin(0, given), Output(output, 1), *(Output(source, 2) for source in errors)])
    return session.status


class _Session:
    """A running command: the connection to the process that forked it, and our ends of its streams."""

    def __init__(self, run: Path, command: ExecRequest, ways: dict[str, Any]) -> None:
        self._command, self.status, self.descriptors = command, -1, list[int]()
        self._received, self._flows = rpc.Lines(), tuple[Relay, ...]()
        self._connection = _reach(run, command)
        request = {
            "op": "exec",
            "ns": netns(command.lab, command.host),
            "container": command.container,
            "argv": list(command.argv),
            "env": {name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "working_dir": "",
            **ways,
        }
        try:
            self._begin(json.dumps(request).encode() + b"\n")
        except BaseException:
            self._connection.close()
            raise

    def _begin(self, request: bytes) -> None:
        self._connection.settimeout(TIMEOUT)
        try:
            self._connection.sendall(request)
            while not self.descriptors:
                self._handle(self._receive())
        except TimeoutError:
            raise NslabError(f"the process of {self._command.node} does not answer") from None
        self._connection.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # When the connection closes, the node ends what still runs.
        self._connection.close()
        for flow in self._flows:
            flow.close()

    def relay(self, flows: Sequence[Relay], deadline: float | None = None) -> None:
        """Move bytes until the command has ended and its output is complete. TimeoutError at the deadline."""
        self._flows = tuple(flows)
        relay(self, flows, lambda: self.status < 0, deadline)

    def waits_for(self) -> tuple[int, int] | None:
        """The connection, until the command has ended."""
        return (self._connection.fileno(), select.POLLIN) if self.status < 0 else None

    def move(self) -> None:
        """Handle the node's messages."""
        with contextlib.suppress(BlockingIOError):
            self._handle(self._receive())

    def _receive(self) -> list[dict[str, Any]]:
        with contextlib.suppress(ConnectionResetError):
            block, descriptors = rpc.receive_descriptors(self._connection, rpc.BLOCK, _DESCRIPTORS)
            self.descriptors += descriptors
            if block:
                return [json.loads(line) for line in self._received.take(block)]
        raise NslabError(f"the process of {self._command.node} ended, and with it {self._command.argv[0]}")

    def _handle(self, answers: list[dict[str, Any]]) -> None:
        for answer in answers:
            if answer.get("absent"):
                raise NotRunning(answer["error"])
            if "error" in answer:
                raise NslabError(f"cannot enter {self._command.host}: {answer['error']}")
            self.status = answer.get("exited", self.status)

    def signal(self, number: int) -> None:
        """Signal the command's process group; SIGKILL ends its whole session."""
        with contextlib.suppress(OSError):
            rpc.send(self._connection, rpc.line({"op": "signal", "number": number}))

    def forward(self, number: int) -> Callable[[], None]:
        """A handler that forwards this signal."""
        return lambda: self.signal(number)

    def kill(self) -> None:
        """Kill the command and wait for its end."""
        self.signal(signal.SIGKILL)
        self._connection.settimeout(TIMEOUT)
        with contextlib.suppress(NslabError, TimeoutError):
            while self.status < 0:
                self.move()


def _reach(run: Path, command: ExecRequest) -> socket.socket:
    """Connect to the node's process; if it is dead, spawn a stand-in for one command."""
    try:
        return rpc.connect(run / rundir.node(command.node, rundir.SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):
        from nslab.linux.processes.agents import Agents

        with Agents(command.lab, run) as agents:
            return agents.spawn(command.stand_in, netns(command.lab, command.node))
