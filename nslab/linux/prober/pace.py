"""How many clients a server gets at a time: some servers take few at once, and the others' packets are lost.

dnsmasq serves 20 TCP connections and queues six more; `nc -l` serves one; the kernel sends a host one ICMP refusal a
second. A client counts until its connection is closed on both sides.
"""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

ONE, FEW, SOME = 1, 4, 16
"""Clients at a time: what every server takes; what most take; what nslab's own take."""
_HOPELESS = 2
"""After so many silences in a row, a server is not silent for lack of capacity."""
_ITEM = TypeVar("_ITEM")


class Queue(Generic[_ITEM]):
    """Items, each with its server (None: one without a limit) and how many that server takes at a time."""

    def __init__(self, questions: Iterable[tuple[_ITEM, Hashable | None, int]]) -> None:
        self._ready: deque[_ITEM] = deque()
        self._left = 0
        self._waiting: dict[Hashable, deque[_ITEM]] = {}
        self._room: dict[Hashable, int] = {}
        self._silences: dict[Hashable, int] = {}
        for item, server, room in questions:
            self._left += 1
            if server is None:
                self._ready.append(item)
            else:
                self._room.setdefault(server, room)
                self._waiting.setdefault(server, deque()).append(item)
                self._admit(server)

    def __len__(self) -> int:
        return self._left

    @property
    def ready(self) -> bool:
        """Whether an item may start now."""
        return bool(self._ready)

    def take(self) -> _ITEM:
        """Remove and return the next item that may start now."""
        self._left -= 1
        return self._ready.popleft()

    def awaits(self, server: Hashable | None) -> bool:
        """Whether an item waits for this server."""
        return bool(self._waiting.get(server))

    def done(self, server: Hashable | None, *, silent: bool = False) -> None:
        """Return a place at a server. A server that is silent repeatedly gets more items at a time."""
        if server is None:
            return
        self._silences[server] = self._silences.get(server, 0) + 1 if silent else 0
        self._room[server] += 1
        if self._silences[server] == _HOPELESS:
            self._room[server] += SOME
        self._admit(server)

    def _admit(self, server: Hashable) -> None:
        waiting = self._waiting[server]
        while waiting and self._room[server] > 0:
            self._room[server] -= 1
            self._ready.append(waiting.popleft())


class Closing:
    """Finished connections that wait for the server's close, or a timeout; then the server has a free place."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sockets: dict[int, tuple[float, socket.socket, Hashable]] = {}

    def add(self, sock: socket.socket, server: Hashable) -> None:
        """Half-close a connection and wait for the server's end."""
        with suppress(OSError):  # already closed, which the next read shows
            sock.shutdown(socket.SHUT_WR)
        self._sockets[sock.fileno()] = time.monotonic() + self._seconds, sock, server

    def heard(self, descriptor: int) -> Hashable | None:
        """Read from a socket; return the server if it has closed the connection."""
        _, sock, server = self._sockets[descriptor]
        try:
            if sock.recv(1 << 16):
                return None
        except BlockingIOError:
            return None
        except OSError:
            pass
        self._close(descriptor)
        return server

    def overdue(self) -> list[Hashable]:
        """Close the connections that timed out and return their servers."""
        now = time.monotonic()
        late = [(fd, server) for fd, (until, _, server) in self._sockets.items() if until <= now]
        for descriptor, _ in late:
            self._close(descriptor)
        return [server for _, server in late]

    @property
    def due(self) -> float:
        """The time of the next timeout; infinity without one."""
        return min((until for until, _, _ in self._sockets.values()), default=math.inf)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._sockets

    def close(self) -> None:
        """Close all connections."""
        for descriptor in [*self._sockets]:
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._sockets.pop(descriptor)[1].close()
