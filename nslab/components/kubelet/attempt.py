"""One run of a container: its start, whether it answers, its output."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time

from nslab import rundir
from nslab.components.kubelet.crilog import Stream, log_file
from nslab.components.kubelet.exit_status import words
from nslab.components.runtime.loop import WRITE
from nslab.components.runtime.node_context import NET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.sandbox import PodSandbox
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext

SOONEST, LATEST = 0.02, 1.0
"""Seconds between two connections to a port, at first and at most."""
SETTLED = 0.1
"""Seconds that a container without a port must run to count as started: a command that fails at once has failed."""
LOOKS = 10
"""The number of such checks; after the last one a busy process counts as started, too."""
REST = 3
"""A container that prints all the time takes 1/(REST + 1) of its node's time."""


class Attempt:
    """One run. `pipes`: read ends of stdout, stderr and the report (-1: none); `number` counts from 0.

    `runs`: the process has started; `answers`: its port does, too. Calls `news` at each change.
    """

    __slots__ = (
        "_link", "_loop", "_news", "_place", "_pod", "_probe", "_report", "_report_fd", "_spec", "_streams", "_wait",
        "alive", "answers", "complaint", "log", "pid", "runs",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        context: NodeContext,
        spec: Spec,
        pod: PodSandbox,
        number: int,
        pid: int,
        pipes: tuple[int, int, int],
        news: Callable[[], None],
    ) -> None:
        self._loop, self._place, self._spec, self._pod, self._news = loop, context, spec, pod, news
        self.pid, self.alive, self.runs, self.answers, self.complaint = pid, True, False, False, ""
        path = rundir.container_logs(context.node, pod.log_folder, spec.container)
        self.log = log_file(f"{context.run}/{path}", number)
        # NAME_MAX is 255 bytes; the kubelet, too, truncates longer names.
        name = f"{pod.pod}_{pod.namespace}_{spec.container}-{spec.number}"[: 255 - len(".log")]
        self._link = f"{context.folder}/{rundir.LINKS}/{name}.log"
        if os.path.lexists(self._link):
            os.unlink(self._link)
        # Relative, so that it works on the machine and inside the node.
        os.symlink(f"{rundir.LINKS_TO_LOGS}/{pod.log_folder}/{spec.container}/{number}.log", self._link)
        named = zip(pipes[:2], (b"stdout", b"stderr"), strict=True)
        self._streams = [Stream(fd, name, self.log) for fd, name in named if fd >= 0]
        for stream in self._streams:
            self._listen(stream)
        self._probe: socket.socket | None = None
        self._report, self._report_fd, self._wait = b"", pipes[2], SOONEST

    def begin(self) -> None:
        """Watch for the report of its start; an adopted process has started already."""
        if self._report_fd >= 0:
            self._loop.watch(self._report_fd, self._read_report)
        else:
            self.runs, self.answers = True, not self._spec.port
            self._try_port()

    def _read(self, stream: Stream) -> None:
        began = time.monotonic()
        if not stream.read():
            self._streams.remove(stream)
            self._drop(stream.fd)
        elif stream.full:
            # It prints too fast: the full pipe blocks it while others get their turns.
            self._loop.forget(stream.fd)
            now = time.monotonic()
            self._loop.at(now + REST * (now - began), lambda: self._listen(stream))

    def _listen(self, stream: Stream) -> None:
        if stream in self._streams:
            self._loop.watch(stream.fd, lambda: self._read(stream))

    def _drop(self, fd: int) -> None:
        self._loop.forget(fd)
        os.close(fd)

    def _read_report(self) -> None:
        # A built-in server reports `ready`. A successful exec closes the pipe (CLOEXEC), without a report.
        block = b" "
        while block and not self._report.endswith(b"ready\n"):
            try:
                block = os.read(self._report_fd, 4096)
            except BlockingIOError:
                return
            self._report += block
        self._drop(self._report_fd)
        self._report_fd = -1
        if self._report == b"ready\n":
            self.runs = self.answers = True
        elif self._report:
            self.complaint = self._report.decode("utf-8", "replace")
        elif not self._spec.built_in:
            self.runs = True
            if self._spec.port:
                self._try_port()
            else:
                self._settle(LOOKS)
        self._news()

    def _settle(self, looks: int) -> None:
        self._loop.at(time.monotonic() + SETTLED, lambda: self._stayed(looks - 1))

    def _stayed(self, looks: int) -> None:
        if not self.alive:
            return
        # On a busy machine it may not have run yet; a sleeping process has.
        if looks and not _waits(self.pid):
            self._settle(looks)
            return
        self.answers = True
        self._news()

    def _try_port(self) -> None:
        if not self.alive or self.answers:
            return
        try:
            with self._place.away(NET):
                self._place.enter(self._pod.network)
                # A socket stays in the namespace in which it was created.
                self._probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # out of descriptors, or the namespace has lost its name
            self._later()
            return
        if self._probe.connect_ex((self._pod.address, self._spec.port)) in (0, errno.EINPROGRESS):
            self._loop.watch(self._probe.fileno(), self._port_tried, WRITE)
        else:
            self._port_tried()

    def _port_tried(self) -> None:
        if self._probe is None:
            return
        answered = self._probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and _connected(self._probe)
        self._end_probe()
        if answered:
            self.answers = True
            self._news()
        else:
            self._later()

    def _later(self) -> None:
        self._loop.at(time.monotonic() + self._wait, self._try_port)
        self._wait = min(self._wait * 1.1, LATEST)

    def _end_probe(self) -> None:
        if self._probe:
            self._loop.forget(self._probe.fileno())
            self._probe.close()
            self._probe = None

    def ended(self, status: int) -> None:
        """Handle the end of its process."""
        self.alive = False
        for stream in self._streams:
            stream.drain()
        if self._report_fd >= 0:
            self._read_report()
        self._end_probe()
        self.complaint = self.complaint or words(status)

    def forget(self) -> None:
        """Close everything; the log stays."""
        self.alive = False
        for stream in self._streams:
            stream.drain()
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


def _waits(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"S"
    except OSError:
        return False
