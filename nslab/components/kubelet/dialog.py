"""One TCP, HTTP or HTTPS probe: a connection, what is asked over it, and what is wrong with the answer."""

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

    from nslab.components.kubelet.tls import TlsClient
    from nslab.components.runtime.loop import Loop
    from nslab.runtime.health_check import HealthCheck


class Dialog:
    """The connection of one probe to a port. Calls `done` once with the error, or ""; never after `close`."""

    __slots__ = ("_answer", "_check", "_done", "_loop", "_place", "_socket", "_tls")

    def __init__(self, loop: Loop, place: str, check: HealthCheck, done: Callable[[str], None]) -> None:
        """`place`: the address."""
        self._loop, self._place, self._check, self._done = loop, place, check, done
        self._socket: socket.socket | None = None
        self._tls: TlsClient | None = None
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
            output = request(self._place, self._check)
            if self._check.scheme == "HTTPS":
                from nslab.components.kubelet.tls import TlsClient  # memory of each node, needed by few

                self._tls = TlsClient(output)
                output, _ = self._tls.take(b"")
            try:
                self._socket.send(output, socket.MSG_NOSIGNAL)
            except OSError as error:
                self._refused(error.errno or errno.EIO)

    def _decrypted(self, peer: socket.socket, tls: TlsClient, block: bytes) -> bytes:
        output, answer = tls.take(block)
        if output:
            peer.send(output, socket.MSG_NOSIGNAL)  # the buffer of a new connection holds a handshake
        return answer

    def _read(self) -> None:
        peer = self._socket
        if not peer:
            return
        try:
            block = peer.recv(LONGEST)
            self._answer += self._decrypted(peer, self._tls, block) if self._tls else block
        except BlockingIOError:
            return
        except OSError as error:
            self._refused(error.errno or errno.EIO)
            return
        except ValueError as error:
            self._end(f"{self._asked()}: {error}")
            return
        if not block and not self._answer:
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
        scheme = (self._check.scheme or "http").lower()
        return f'Get "{scheme}://{self._place}:{self._check.port}{self._check.path}"'

    def _end(self, wrong: str) -> None:
        self.close()
        self._done(wrong)
