"""A container as its node sees it: alive or not, ready or why not, what it printed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time

from nslab import syscall
from nslab.node.crilog import LogFile, Stream
from nslab.node.loop import WRITE
from nslab.node.place import NET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nslab.node.agent import Agent
    from nslab.node.container import Spec
    from nslab.node.sandbox import Sandbox

AGAIN = 0.02  # seconds between two tries at a port
UNKNOWN = -256
"""The exit status of a process whose parent was an earlier nslab-node: init had it."""


class Watched:
    """One started container. `pipes`: read ends of stdout, stderr and the report (-1: there is none)."""

    def __init__(self, agent: Agent, spec: Spec, pod: Sandbox, pid: int, pipes: tuple[int, int, int]) -> None:
        self.agent, self.spec, self.pod, self.pid = agent, spec, pod, pid
        self.alive, self.ready, self.reason = True, False, ""
        self._report = b""
        folder = f"{agent.place.folder}/log"
        self.log = LogFile(f"{folder}/pods/{pod.log_folder}/{spec.container}/0.log")
        # Relative, so that it leads there from the machine and from within the node.
        self._link = f"{folder}/containers/{pod.pod}_{pod.namespace}_{spec.container}-{spec.number}.log"
        with contextlib.suppress(FileExistsError):
            os.symlink(f"../pods/{pod.log_folder}/{spec.container}/0.log", self._link)
        named = zip(pipes[:2], (b"stdout", b"stderr"), strict=True)
        self._streams = [Stream(fd, name, self.log) for fd, name in named if fd >= 0]
        for stream in self._streams:
            agent.loop.watch(stream.fd, lambda stream=stream: self._read(stream))  # type: ignore[misc]
        self._probe: socket.socket | None = None
        self._report_fd = pipes[2]
        if self._report_fd >= 0:
            agent.loop.watch(self._report_fd, self._hear)
        else:
            self._started()

    @property
    def pending(self) -> bool:
        """Whether it may still become ready."""
        return self.alive and not self.ready and not self.reason

    def failure(self, seconds: float) -> dict[str, Any]:
        """Why it is not ready after so many seconds."""
        waited = f"port {self.spec.port} did not answer" if self._report_fd < 0 else "did not start"
        output = self.log.tail.decode("utf-8", "replace")
        reason = self.reason or f"{waited} in {seconds:g} s"
        return {"pod": self.pod.pod, "container": self.spec.container, "reason": reason, "output": output}

    def _read(self, stream: Stream) -> None:
        if not stream.read():
            self._streams.remove(stream)
            self._drop(stream.fd)

    def _drop(self, fd: int) -> None:
        self.agent.loop.forget(fd)
        os.close(fd)

    def _hear(self) -> None:
        # The built-in server says `ready`. The pipe of a command is closed by exec: silence is success.
        try:
            block = os.read(self._report_fd, 4096)
        except BlockingIOError:
            return
        self._report += block
        if block and not self._report.endswith(b"ready\n"):
            return
        self._drop(self._report_fd)
        self._report_fd = -1
        if self._report == b"ready\n":
            self._settle(True)
        elif self._report:
            self._settle(False, self._report.decode("utf-8", "replace"))
        elif not self.spec.built_in:
            self._started()

    def _started(self) -> None:
        if self.spec.port:
            self._try_port()
        else:
            self._settle(True)

    def _settle(self, ready: bool, reason: str = "") -> None:
        self.ready, self.reason = ready, self.reason or reason
        self.agent.settle()

    def _try_port(self) -> None:
        if not self.pending:
            return
        with self.agent.place.away(NET):
            netns = self.agent.place.netns(self.spec.ns)
            syscall.setns(netns, NET)
            os.close(netns)
            # A socket stays in the namespace that it was made in.
            self._probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if self._probe.connect_ex((self.pod.address, self.spec.port)) in (0, errno.EINPROGRESS):
            self.agent.loop.watch(self._probe.fileno(), self._port_tried, WRITE)
        else:
            self._port_tried()

    def _port_tried(self) -> None:
        if self._probe is None:
            return
        answered = self._probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and _connected(self._probe)
        self._end_probe()
        if answered:
            self._settle(True)
        else:
            self.agent.loop.at(time.monotonic() + AGAIN, self._try_port)

    def _end_probe(self) -> None:
        if self._probe:
            self.agent.loop.forget(self._probe.fileno())
            self._probe.close()
            self._probe = None

    def ended(self, status: int) -> None:
        """Its process is gone."""
        self.alive = False
        for stream in list(self._streams):
            stream.read()
        if self._report_fd >= 0:
            self._hear()
        self._settle(False, _words(status))

    def forget(self) -> None:
        """Close everything; the log stays until its pod goes."""
        self.alive = False
        for stream in self._streams:
            stream.read()
            self._drop(stream.fd)
        self._streams = []
        if self._report_fd >= 0:
            self._drop(self._report_fd)
            self._report_fd = -1
        self._end_probe()
        self.log.close()
        with contextlib.suppress(OSError):
            os.unlink(self._link)


def _connected(probe: socket.socket) -> bool:
    try:
        probe.getpeername()
    except OSError:
        return False
    return True


def _words(status: int) -> str:
    if status == UNKNOWN:
        return "ended"
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
