"""One thread, one epoll: calls who waits for a descriptor or for a moment."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Loop:
    """Descriptors with their callbacks, and moments with theirs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []

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
        self._timers.append((moment, call))

    def turn(self) -> None:
        """Wait for the next thing, and see to all that is due."""
        first = min((moment for moment, _ in self._timers), default=None)
        timeout = None if first is None else max(0.0, first - time.monotonic())
        for fd, _ in self._epoll.poll(timeout):
            call = self._calls.get(fd)  # an earlier call of this round may have forgotten it
            if call:
                call()
        if self._timers:
            now = time.monotonic()
            due = [timer for timer in self._timers if timer[0] <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for _, call in due:
                call()
