"""The socket of a node's process: one JSON object a line, each answered by one line, in order."""

from __future__ import annotations

import contextlib
import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.node.loop import Loop
    from nslab.node.place import Place

    Handler = Callable[["Peer", dict[str, Any]], dict[str, Any] | None]


class Peer:
    """Somebody who asks. Requests may come many at a time; while one awaits its answer the next ones wait."""

    def __init__(self, loop: Loop, connection: socket.socket, handler: Handler) -> None:
        self._loop, self._socket, self._handler = loop, connection, handler
        self._lines: list[bytes] = [b""]
        self._busy = False
        loop.watch(connection.fileno(), self._receive)

    def _receive(self) -> None:
        try:
            block = self._socket.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if not block:
            self.close()
            return
        first, *more = block.split(b"\n")
        self._lines[-1] += first
        self._lines += more
        self._go_on()

    def _go_on(self) -> None:
        while len(self._lines) > 1 and not self._busy:
            self._busy = True
            try:
                answer = self._handler(self, json.loads(self._lines.pop(0)))
            except (OSError, ValueError, TypeError, KeyError) as error:
                answer = {"error": str(error)}
            if answer:
                self.send(answer, go_on=False)

    def send(self, answer: dict[str, Any], go_on: bool = True) -> None:
        """Answer; somebody who does not read is left alone."""
        self._busy = False
        data = json.dumps(answer).encode() + b"\n"
        try:
            if self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) != len(data):
                self.close()
        except OSError:
            self.close()
        if go_on:
            self._go_on()

    def close(self) -> None:
        """Hang up."""
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()


def listen(loop: Loop, place: Place, handler: Handler) -> socket.socket:
    """Serve at RUN/nodes/NODE.sock; a socket of an earlier process is replaced."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{place.folder}.sock")
    # A socket's path has 107 bytes at most; names of labs and nodes may take more.
    folder = os.open(os.path.dirname(place.folder), os.O_PATH)
    door.bind(f"/proc/self/fd/{folder}/{place.node}.sock")
    os.close(folder)
    door.listen(64)

    def accept() -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = door.accept()
            Peer(loop, connection, handler)

    loop.watch(door.fileno(), accept)
    return door
