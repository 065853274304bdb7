"""How many questions a server is asked at a time: some serve few clients at once, and what else comes is lost.

dnsmasq answers 20 connections over TCP and lets six more wait; `nc -l` serves one; a kernel sends a host one ICMP
refusal a second. A client is served until its connection is closed on both sides.
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
"""Clients at a time: that every server has room for; that most have; that one of our own has."""
_HOPELESS = 2
"""Silences in a row after which a server is not silent because too much is asked at once."""
_ITEM = TypeVar("_ITEM")


class Queue(Generic[_ITEM]):
    """Questions, each with its server (None: one that takes any number) and how many that server takes at a time."""

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
        """Whether some question may be asked now."""
        return bool(self._ready)

    def take(self) -> _ITEM:
        """The next question that may be asked now."""
        self._left -= 1
        return self._ready.popleft()

    def awaits(self, server: Hashable | None) -> bool:
        """Whether somebody waits until this server has room."""
        return bool(self._waiting.get(server))

    def done(self, server: Hashable | None, *, silent: bool = False) -> None:
        """A server has room for one more. One that says nothing, whoever asks, is asked by more at a time."""
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


class Leaving:
    """Connections that have served, and end when the server says so, or after a while; their servers have room then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sockets: dict[int, tuple[float, socket.socket, Hashable]] = {}

    def add(self, sock: socket.socket, server: Hashable) -> None:
        """Say that no more will be asked."""
        with suppress(OSError):  # it is gone already, which shows when it is read
            sock.shutdown(socket.SHUT_WR)
        self._sockets[sock.fileno()] = time.monotonic() + self._seconds, sock, server

    def heard(self, descriptor: int) -> Hashable | None:
        """Something came on a socket: the server, if it has ended the connection."""
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
        """The servers that were waited for long enough."""
        now = time.monotonic()
        late = [(fd, server) for fd, (until, _, server) in self._sockets.items() if until <= now]
        for descriptor, _ in late:
            self._close(descriptor)
        return [server for _, server in late]

    @property
    def due(self) -> float:
        """When the first one has been waited for long enough; never, if there is none."""
        return min((until for until, _, _ in self._sockets.values()), default=math.inf)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._sockets

    def close(self) -> None:
        """End all of them."""
        for descriptor in [*self._sockets]:
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._sockets.pop(descriptor)[1].close()
