"""One thread, one epoll: calls who waits for a descriptor or for a moment.

Whatever is ready has its turn in each round, so nobody may make a callback go on for long: see AT_ONCE.
"""

from __future__ import annotations

import heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Protocol

    class Watches(Protocol):
        """A loop: this one, or asyncio's behind the same three words (nslab.components.kubeproxy.process)."""

        def watch(self, fd: int, call: Callable[[], None], events: int = ...) -> None:
            """Have `call` called whenever `fd` is ready."""

        def forget(self, fd: int) -> None:
            """No more calls for `fd`."""

        def at(self, moment: float, call: Callable[[], None]) -> None:
            """Have `call` called once, at a moment of the monotonic clock."""


READ, WRITE = select.EPOLLIN, select.EPOLLOUT
AT_ONCE = 64
"""Packets, requests, connections, children that are seen to at once before all others have their turn."""
REST = 0.1
"""Seconds that nobody is let in when there is no descriptor, or no memory, for one more."""


class Loop:
    """Descriptors with their callbacks, and moments with theirs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0  # of the last timer: what is due first was asked for first

    def watch(self, fd: int, call: Callable[[], None], events: int = READ) -> None:
        """Have `call` called whenever `fd` is readable (or what `events` say), hung up or broken."""
        if fd in self._calls:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        """No more calls for `fd`. To be said before it is closed: epoll knows open files, not numbers."""
        if self._calls.pop(fd, None):
            self._epoll.unregister(fd)

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Have `call` called once, at a moment of the monotonic clock."""
        self._number += 1
        heapq.heappush(self._timers, (moment, self._number, call))

    def turn(self) -> None:
        """Wait for the next thing, and see to all that is due."""
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for fd, _ in self._epoll.poll(timeout):
            call = self._calls.get(fd)  # an earlier call of this round may have forgotten it
            if call:
                call()
        now, last = time.monotonic(), self._number
        # What these ask for in turn has its turn in the next round.
        while self._timers and self._timers[0][0] <= now and self._timers[0][1] <= last:
            heapq.heappop(self._timers)[2]()


def accept(loop: Watches, door: socket.socket, serve: Callable[[socket.socket], object]) -> None:
    """Call `serve` with each new connection to a listening socket, until it is forgotten and closed."""

    def come() -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = door.accept()
            except (BlockingIOError, ConnectionError, InterruptedError):
                return
            except OSError:
                # It waits on in the queue, and would call us again at once.
                loop.forget(door.fileno())
                loop.at(time.monotonic() + REST, listen)
                return
            serve(connection)

    def listen() -> None:
        if door.fileno() >= 0:
            loop.watch(door.fileno(), come)

    listen()
