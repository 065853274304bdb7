"""An event loop of one thread and one epoll: callbacks for descriptors and for times.

All ready callbacks run in each round, so no client may keep a callback busy for long: see AT_ONCE.
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
        """The interface of a loop: this one, or asyncio's (nslab.components.runtime.asyncloop)."""

        def watch(self, fd: int, call: Callable[[], None], events: int = ...) -> None:
            """Call `call` whenever `fd` is ready."""

        def forget(self, fd: int) -> None:
            """Stop calls for `fd`."""

        def at(self, moment: float, call: Callable[[], None]) -> None:
            """Call `call` once, at `moment` of the monotonic clock."""


READ, WRITE = select.EPOLLIN, select.EPOLLOUT
AT_ONCE = 64
"""Packets, requests, connections or children that one callback handles before the others get their turn."""
REST = 0.1
"""Seconds without accepting connections after running out of descriptors or memory."""


class Loop:
    """Callbacks for descriptors and for times."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0  # of the last timer: timers for the same time run in their order

    def watch(self, fd: int, call: Callable[[], None], events: int = READ) -> None:
        """Call `call` whenever `fd` is readable (or has other `events`), hung up or in error."""
        if fd in self._calls:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        """Stop calls for `fd`. Call it before close: epoll watches open files, not numbers."""
        if self._calls.pop(fd, None):
            self._epoll.unregister(fd)

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Call `call` once, at `moment` of the monotonic clock."""
        self._number += 1
        heapq.heappush(self._timers, (moment, self._number, call))

    def turn(self) -> None:
        """Wait for the next event or time, and run all callbacks that are due."""
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for fd, _ in self._epoll.poll(timeout):
            call = self._calls.get(fd)  # an earlier callback of this round may have forgotten it
            if call:
                call()
        now, last = time.monotonic(), self._number
        # Timers that these callbacks set run in the next round.
        while self._timers and self._timers[0][0] <= now and self._timers[0][1] <= last:
            heapq.heappop(self._timers)[2]()


def accept(loop: Watches, door: socket.socket, serve: Callable[[socket.socket], object]) -> None:
    """Call `serve` with each new connection to a listening socket, until it is forgotten and closed."""

    def ready() -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = door.accept()
            except (BlockingIOError, ConnectionError, InterruptedError):
                return
            except OSError:
                # The connection stays in the queue, so the listener would be ready again at once.
                loop.forget(door.fileno())
                loop.at(time.monotonic() + REST, listen)
                return
            serve(connection)

    def listen() -> None:
        if door.fileno() >= 0:
            loop.watch(door.fileno(), ready)

    listen()
