"""UDP in userspace mode: a socket for each client, so that answers go back to the right one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

    from nslab.proxy.rotation import Rotation

IDLE = 0.25
"""Seconds without a packet after which a client's socket is closed: its next packet may go to another endpoint."""
MOST = 4096
"""Clients of a port at a time: a packet costs its sender little, but a socket takes some kilobytes here."""
_BATCH = 64
_LARGEST = 1 << 16
_Client: TypeAlias = tuple[str, int]


class Sessions:
    """A listening UDP socket, and its clients."""

    def __init__(self, sock: socket.socket, rotation: Rotation) -> None:
        self._sock, self._rotation = sock, rotation
        self._loop = asyncio.get_running_loop()
        self._clients: dict[_Client, socket.socket] = {}
        self._last: dict[_Client, float] = {}
        self._loop.add_reader(sock.fileno(), self._ask)

    def close(self) -> None:
        """End all sessions, as the real kube-proxy does."""
        for client in [*self._clients]:
            self._forget(client)
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def keep(self, ends: Collection[_Client]) -> None:
        """End sessions with endpoints that are not in `ends`: their client's next packet goes to another."""
        for client, backend in [*self._clients.items()]:
            if backend.getpeername() not in ends:
                self._forget(client)

    def _ask(self) -> None:
        with contextlib.suppress(OSError):
            for _ in range(_BATCH):
                data, client = self._sock.recvfrom(_LARGEST)
                backend = self._clients.get(client) or self._open(client)
                if backend:
                    self._last[client] = time.monotonic()
                    with contextlib.suppress(OSError):  # an earlier packet's error, or a full buffer: it is lost
                        backend.send(data)

    def _open(self, client: _Client) -> socket.socket | None:
        end = self._rotation.next(client[0], time.monotonic())
        if end is None or len(self._clients) >= MOST:
            return None
        backend = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            backend.connect((end.ip, end.port))
        except OSError:  # no route
            backend.close()
            return None
        self._clients[client] = backend
        self._loop.add_reader(backend.fileno(), self._answer, client, backend)
        self._loop.call_later(IDLE, self._idle, client, backend)
        return backend

    def _answer(self, client: _Client, backend: socket.socket) -> None:
        try:
            for _ in range(_BATCH):
                data = backend.recv(_LARGEST)
                self._last[client] = time.monotonic()
                with contextlib.suppress(OSError):
                    self._sock.sendto(data, client)
        except BlockingIOError:
            pass
        except OSError:  # nothing listens there
            self._forget(client)

    def _idle(self, client: _Client, backend: socket.socket) -> None:
        if self._clients.get(client) is not backend:
            return
        left = self._last[client] + IDLE - time.monotonic()
        if left > 0:
            self._loop.call_later(left, self._idle, client, backend)
        else:
            self._forget(client)

    def _forget(self, client: _Client) -> None:
        backend = self._clients.pop(client)
        del self._last[client]
        self._loop.remove_reader(backend.fileno())
        backend.close()
