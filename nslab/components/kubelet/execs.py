"""Commands in a container, or on the node itself, forked by the node's own process: `nslab exec`.

The command inherits nothing from the caller. It gets a new terminal or pipes, in a new session; the other ends go to
the caller over the connection of its request. The node's own table decides where the command runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time

from nslab.components.kubelet.adopt import wait_exit
from nslab.components.kubelet.beside import STARTED, Target, become
from nslab.components.kubelet.exit_status import exit_code
from nslab.components.runtime.node_context import PID, NodeContext, host_of
from nslab.components.runtime.peers import Peer
from nslab.runtime import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.runtime.loop import Loop

    Find = Callable[[str, str], Target]
    Starts = Callable[[str, str], bool]
    Request = dict[str, Any]

SOON = 0.01
"""Seconds between two looks at a container that is about to start."""
GRACE = 1.0
"""Seconds from HUP to KILL, for a command whose caller is gone."""


def _never(_ns: str, _container: str) -> bool:
    return False


class Execs:
    """The running commands of a node. `find` returns the target for a namespace and a container.

    `starts`: whether the process of that container is not yet in it.
    """

    def __init__(
        self, loop: Loop, context: NodeContext, clean: Callable[[], None], find: Find, starts: Starts = _never
    ) -> None:
        self._loop, self._place, self._clean, self._find, self._starts = loop, context, clean, find, starts
        self._sessions: dict[int, Session] = {}

    @property
    def pids(self) -> list[int]:
        """The pids of the running commands."""
        return list(self._sessions)

    def begin(self, peer: Peer, request: Request) -> Request | None:
        """Start the command of a request; its session takes over the connection. Returns an answer only on error.

        A container that is about to start is waited for: before it has a file system, a command would miss that.
        """
        if self._starts(request["ns"], request["container"]):
            self._loop.at(time.monotonic() + SOON, lambda: self._begin_late(peer, request))
            return None
        try:
            target = self._find(request["ns"], request["container"])
            try:
                session = Session(self._loop, *start(self._place, target, request, self._clean))
            except OSError as error:
                # fork into a pid namespace fails with ENOMEM when its init is ending.
                if error.errno == errno.ENOMEM and target.ends(0.1):
                    raise ProcessLookupError from error
                raise
            finally:
                target.close()
        except ProcessLookupError:
            return _absent(request["ns"], request["container"])
        self._sessions[session.pid] = session
        session.serve(peer.detach())
        return None

    def _begin_late(self, peer: Peer, request: Request) -> None:
        if not peer.gone and (answer := self.begin(peer, request)):
            peer.send(answer)

    def admit(self, session: Session) -> None:
        """Tell a command when it has ended."""
        self._sessions[session.pid] = session

    def ended(self, pid: int, status: int) -> None:
        """Handle the end of a child; `status` as subprocess has it."""
        session = self._sessions.pop(pid, None)
        if session:
            session.ended(status)

    def end(self, ns: str, container: str) -> None:
        """Kill and reap the commands in a container: before that, its pid namespace cannot end."""
        for pid, session in list(self._sessions.items()):
            if session.beside == (ns, container):
                session.kill()
                self._reap(pid)

    def _reap(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            wait_exit(descriptor, 2.0)
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                self.ended(pid, os.waitstatus_to_exitcode(status))


class Session:
    """One command, from its fork to its end. It ends with its caller's connection."""

    def __init__(self, loop: Loop, pid: int, report: socket.socket, ends: list[int], beside: tuple[str, str]) -> None:
        self._loop, self._report, self._ends = loop, report, ends
        self.pid, self.beside, self.over = pid, beside, False

    def serve(self, connection: socket.socket) -> None:
        """Answer on this connection when the command has started and when it has ended."""
        self._peer = Peer(self._loop, connection, self._answer, self._closed)
        self._loop.watch(self._report.fileno(), self._reported)

    def _reported(self) -> None:
        self._loop.forget(self._report.fileno())
        message, terminal = rpc.receive_descriptors(self._report, 1 << 12, 1)
        self._report.close()
        ends = [*terminal, *self._ends]
        if message == STARTED:
            self._peer.hand_over({"ok": True, "pid": self.pid}, ends)
        else:
            # Without a report it was killed, together with its target.
            self._peer.send({"error": message.decode()} if message else _absent(*self.beside))
        for end in ends:
            os.close(end)

    def _answer(self, _: Peer, request: Request) -> Request:
        if request.pop("op", None) != "signal":
            return {"error": "unknown request"}
        number = int(request["number"])
        if number == signal.SIGKILL:
            self.kill()
        elif not self.over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
        return {}

    def ended(self, status: int) -> None:
        """Handle the end of the command; processes that it left behind do not count."""
        if self._report.fileno() >= 0:
            self._reported()
        self.over = True
        self._peer.send({"exited": exit_code(status)})

    def _closed(self) -> None:
        if not self.over:
            self._signal(signal.SIGHUP)
            self._signal(signal.SIGCONT)
            self._loop.at(time.monotonic() + GRACE, self.kill)

    def kill(self) -> None:
        """Kill the command and all processes of its session."""
        if not self.over:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # The leader is not reaped yet, so the session ID cannot be another's.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        for descriptor in members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            os.close(descriptor)


def members(session: int) -> list[int]:
    """A pidfd of each process of a session, without its leader."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session != pid:
                descriptor = os.pidfd_open(pid)
                # Checked again: the pidfd cannot refer to another process any more.
                if os.getsid(pid) == session:
                    found.append(descriptor)
                else:
                    os.close(descriptor)
    return found


def _absent(ns: str, container: str) -> Request:
    host = host_of(ns)
    what = f"container {container} of {host}" if container else f"the process of {host}"
    return {"error": f"{what} does not run", "absent": True}


def start(
    context: NodeContext, target: Target, request: Request, clean: Callable[[], None]
) -> tuple[int, socket.socket, list[int], tuple[str, str]]:
    """Fork a command; return its pid, the socket of its report, the caller's ends of its pipes, and its target."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends: list[int] = []
    inner: list[int] = []
    try:
        # stdin, stdout and stderr; with a terminal the first two are its.
        for number in range(2 if request["tty"] else 0, 3 if request["stderr"] else 2):
            reading, writing = os.pipe()
            ends.append(reading if number else writing)
            inner.append(writing if number else reading)
        with context.away(PID):
            target.enter_pid()
            join = target.joining(context.groups)
            pid = os.fork()
            if pid == 0:
                become(target, request, inner, theirs, clean, join)
    except BaseException:
        ours.close()
        for end in ends:
            os.close(end)
        raise
    finally:
        theirs.close()
        for end in inner:
            os.close(end)
    return pid, ours, ends, (request["ns"], request["container"])
