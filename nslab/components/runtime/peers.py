"""Sockets with lines on them: one JSON object a line; who serves answers each by one line, in order."""

from __future__ import annotations

import contextlib
import json
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


def _nobody() -> None:
    pass


class Peer:
    """Somebody at the other end. Requests may come many at a time; while one awaits its answer the next ones wait.

    The handler's answer is sent; nothing is sent for an empty one; None when `send` will say it later. While somebody
    does not read what we have to say, what else they ask for waits. `before_answers` is called before answers are sent,
    once for all requests that came together.
    """

    def __init__(
        self,
        loop: Watches,
        connection: socket.socket,
        handler: Handler,
        closed: Callable[[], None] = _nobody,
        before_answers: Callable[[], None] = _nobody,
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
        """The answer to a request, if there is one already."""
        self._busy = True
        try:
            answer = self._handler(self, json.loads(line))
        except Exception as error:  # whatever is wrong with a request must not be the end of who was asked
            answer = {"error": text(error)}
        if answer is not None:  # else `send` says so, and may have done it by now
            self._busy = False
        return [memoryview(rpc.line(answer))] if answer else []

    def _listen(self) -> None:
        """Read on, unless there is enough to do."""
        reads = not self._lines
        if self._unsent or self._reads == reads or self._socket.fileno() < 0:
            return
        self._reads = reads
        if reads:
            self._loop.watch(self._socket.fileno(), self._receive)
        else:
            self._loop.forget(self._socket.fileno())

    def send(self, answer: dict[str, Any]) -> None:
        """Answer, or say something unasked."""
        self.send_line(rpc.line(answer))

    def send_line(self, line: bytes, go_on: bool = True) -> None:
        """The same, of a line that is written already."""
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
        """Answer at once, with descriptors: while nothing else that was said waits to be read."""
        try:
            rpc.send_descriptors(self._socket, rpc.line(answer), descriptors, rpc.AT_ONCE)
        except OSError:
            self.close()

    def detach(self) -> socket.socket:
        """The connection, which is somebody else's from here on: for a handler that gives no answer."""
        self._loop.forget(self._socket.fileno())
        self._lines.clear()
        return socket.socket(fileno=self._socket.detach())

    def close(self) -> None:
        """Hang up."""
        self._unsent.clear()
        self._lines.clear()
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            # Who hears of it may hold us, and nobody collects cycles here (see nslab.components.runtime.spawner).
            closed, self._closed = self._closed, _nobody
            closed()


def listen(loop: Watches, context: NodeContext, handler: Handler, before_answers: Callable[[], None]) -> socket.socket:
    """Serve at RUN/nodes/NODE.sock."""
    return serve(
        loop, f"{context.folder}{rundir.SOCKET}", lambda peer: Peer(loop, peer, handler, before_answers=before_answers)
    )


def serve(loop: Watches, path: str, call: Callable[[socket.socket], object]) -> socket.socket:
    """Listen at a path, and have `call` called with each connection; a socket of an earlier process is replaced.

    It is root's alone: of anybody else's connection nothing is read.
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
    door.listen(1024)  # a large lab has many nodes, and all of them come at once

    def come(connection: socket.socket) -> None:
        if _uid(connection) == 0:
            call(connection)
        else:
            connection.close()

    accept(loop, door, come)
    return door


def _uid(connection: socket.socket) -> int:
    """Whose process connected, by its number in our user namespace; one that is not in there is 65534."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)
