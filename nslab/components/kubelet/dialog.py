"""One TCP or HTTP probe: a connection, what is asked over it, and what is wrong with the answer."""

from __future__ import annotations

import errno
import os
import socket
import time

from nslab.components.kubelet.health import LONGEST, complaint, request, whole
from nslab.components.runtime.loop import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.runtime.loop import Loop
    from nslab.runtime.health_check import HealthCheck


class Dialog:
    """The connection of one probe to a port. Calls `done` once with the error, or ""; never after `close`."""

    __slots__ = ("_answer", "_check", "_done", "_loop", "_place", "_socket")

    def __init__(self, loop: Loop, place: str, check: HealthCheck, done: Callable[[str], None]) -> None:
        """`place`: the address."""
        self._loop, self._place, self._check, self._done = loop, place, check, done
        self._socket: socket.socket | None = None
        self._answer = b""

    def begin(self) -> None:
        """Connect."""
        # Created in the node's network namespace: as on a real node, the probe tests the route to the pod, too.
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            self._socket = socket.socket(socket.AF_INET, kind)
        except OSError as error:  # out of descriptors
            self._end(error.strerror or str(error))
            return
        self._loop.at(time.monotonic() + self._check.timeout, self._late)
        status = self._socket.connect_ex((self._place, self._check.port))
        if status in (0, errno.EINPROGRESS):
            self._loop.watch(self._socket.fileno(), self._connected, WRITE)
        else:
            self._refused(status)

    def close(self) -> None:
        """End it without a result."""
        if self._socket:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connected(self) -> None:
        if not self._socket:
            return
        status = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self._refused(status)
        elif self._check.kind == "tcpSocket":
            self._end("")
        else:
            self._loop.watch(self._socket.fileno(), self._read)
            try:
                self._socket.send(request(self._place, self._check), socket.MSG_NOSIGNAL)
            except OSError as error:
                self._refused(error.errno or errno.EIO)

    def _read(self) -> None:
        if not self._socket:
            return
        try:
            block = self._socket.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._refused(error.errno or errno.EIO)
            return
        self._answer += block
        if not self._answer:
            self._end(f"{self._asked()}: EOF")
        elif not block or whole(self._answer):
            self._end(complaint(self._answer))

    def _late(self) -> None:
        if self._socket:
            self._end(
                f"{self._asked()}: context deadline exceeded"
                if self._check.kind == "httpGet"
                else f"dial tcp {self._place}:{self._check.port}: i/o timeout"
            )

    def _refused(self, status: int) -> None:
        dialled = f"dial tcp {self._place}:{self._check.port}: connect: {os.strerror(status).lower()}"
        self._end(f"{self._asked()}: {dialled}" if self._check.kind == "httpGet" else dialled)

    def _asked(self) -> str:
        return f'Get "http://{self._place}:{self._check.port}{self._check.path}"'

    def _end(self, wrong: str) -> None:
        self.close()
        self._done(wrong)
