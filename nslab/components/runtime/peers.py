"""Line-based sockets: one JSON object per line; the server answers each request with one line, in order."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from nslab import rundir
from nslab.components.runtime.lastwords import text
from nslab.components.runtime.loop import AT_ONCE, WRITE, accept
from nslab.runtime import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.runtime.loop import Watches
    from nslab.components.runtime.node_context import NodeContext

    Handler = Callable[["Peer", dict[str, Any]], dict[str, Any] | None]


def _nothing() -> None:
    pass


class Peer:
    """The other end of a connection. Requests run one at a time: each waits for the answer to the one before.

    The handler returns the answer, an empty dict for no answer, or None if `send` will answer later. While the peer
    does not read its answers, its further requests wait. `before_answers` is called before answers are sent, once for
    all requests that arrived together.
    """

    def __init__(
        self,
        loop: Watches,
        connection: socket.socket,
        handler: Handler,
        closed: Callable[[], None] = _nothing,
        before_answers: Callable[[], None] = _nothing,
    ) -> None:
        self._loop, self._socket, self._handler, self._closed = loop, connection, handler, closed
        self._before_answers = before_answers
        self._lines: list[bytes] = []
        self._received = rpc.Lines()
        self._unsent: list[memoryview] = []
        self._busy, self._reads = False, True
        loop.watch(connection.fileno(), self._receive)

    def _receive(self) -> None:
        try:
            block = rpc.receive(self._socket)
            lines = self._received.take(block)
        except BlockingIOError:
            return
        except (OSError, MemoryError, ValueError):
            block, lines = b"", []
        if not block:
            self.close()
        elif lines:
            self._lines += lines
            self._go_on()

    def _go_on(self) -> None:
        answers: list[memoryview] = []
        for _ in range(AT_ONCE):
            if not self._lines or self._busy or self._unsent:
                break
            answers += self._take(self._lines.pop(0))
        else:
            self._loop.at(0, self._go_on)
        if answers and self._socket.fileno() >= 0:
            self._before_answers()
            self._unsent += answers
            self._flush()
        self._listen()

    def _take(self, line: bytes) -> list[memoryview]:
        """Handle a request; return its answer, if there is one yet."""
        self._busy = True
        try:
            answer = self._handler(self, rpc.message(line))
        except Exception as error:  # a bad request must not end the server
            answer = {"error": text(error)}
        if answer is not None:  # otherwise `send` answers, or has already done so
            self._busy = False
        return [memoryview(rpc.line(answer))] if answer else []

    def _listen(self) -> None:
        """Read only while no request waits."""
        reads = not self._lines
        if self._unsent or self._reads == reads or self._socket.fileno() < 0:
            return
        self._reads = reads
        if reads:
            self._loop.watch(self._socket.fileno(), self._receive)
        else:
            self._loop.forget(self._socket.fileno())

    def send(self, answer: dict[str, Any]) -> None:
        """Send an answer, or a message without a request."""
        self.send_line(rpc.line(answer))

    def send_line(self, line: bytes, go_on: bool = True) -> None:
        """Like `send`, for an encoded line."""
        self._busy = False
        self._unsent.append(memoryview(line))
        self._flush()
        if go_on:
            self._go_on()

    def _flush(self) -> None:
        try:
            while self._unsent:
                sent = rpc.send(self._socket, self._unsent[0])
                self._unsent[0] = self._unsent[0][sent:]
                if not self._unsent[0]:
                    self._unsent.pop(0)
        except BlockingIOError:
            self._reads = False
            self._loop.watch(self._socket.fileno(), self._unblocked, WRITE)
        except OSError:
            self.close()

    def _unblocked(self) -> None:
        self._flush()
        if not self._unsent:
            self._loop.forget(self._socket.fileno())
            self._go_on()

    def hand_over(self, answer: dict[str, Any], descriptors: list[int]) -> None:
        """Send an answer with descriptors, at once: nothing else may be queued."""
        try:
            rpc.send_descriptors(self._socket, rpc.line(answer), descriptors, rpc.AT_ONCE)
        except OSError:
            self.close()

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self._socket.fileno() < 0

    def detach(self) -> socket.socket:
        """Give the connection away; for a handler that returns None."""
        self._loop.forget(self._socket.fileno())
        self._lines.clear()
        return socket.socket(fileno=self._socket.detach())

    def close(self) -> None:
        """Close the connection."""
        self._unsent.clear()
        self._lines.clear()
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            # The callback may refer to this peer, and cycles are not collected (see nslab.components.runtime.spawner).
            closed, self._closed = self._closed, _nothing
            closed()


def listen(loop: Watches, context: NodeContext, handler: Handler, before_answers: Callable[[], None]) -> socket.socket:
    """Serve at RUN/nodes/NODE.sock."""
    return serve(
        loop, f"{context.folder}{rundir.SOCKET}", lambda peer: Peer(loop, peer, handler, before_answers=before_answers)
    )


def serve(loop: Watches, path: str, call: Callable[[socket.socket], object]) -> socket.socket:
    """Listen at a path and call `call` with each connection; replaces the socket of an earlier process.

    Only root may connect; connections of other users are closed unread.
    """
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    umask = os.umask(0o177)
    try:
        with rpc.address(path) as address:
            door.bind(address)
    finally:
        os.umask(umask)
    door.listen(1024)  # all nodes of a large lab connect at once

    def accepted(connection: socket.socket) -> None:
        if _uid(connection) == 0:
            call(connection)
        else:
            connection.close()

    accept(loop, door, accepted)
    return door


def _uid(connection: socket.socket) -> int:
    """The uid of the peer's process in our user namespace (65534 if it has no mapping)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)
