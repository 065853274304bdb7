"""Sockets of a round, each with what is called when something happens to it."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class Handlers:
    """An epoll with a function for each descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}

    def close(self) -> None:
        """Close the epoll, and none of the sockets."""
        self._epoll.close()

    def add(self, sock: socket.socket, events: int, handler: Callable[[int], None]) -> None:
        """Call a function with the events of a socket."""
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), events)

    def await_input(self, sock: socket.socket, handler: Callable[[int], None] | None = None) -> None:
        """From now on, wait for what a known socket receives; with another function, if one is given."""
        self._epoll.modify(sock.fileno(), select.EPOLLIN)
        if handler:
            self._handlers[sock.fileno()] = handler

    def drop(self, sock: socket.socket) -> None:
        """Close a socket, and forget its function."""
        self._handlers.pop(sock.fileno(), None)
        sock.close()

    def turn(self, seconds: float) -> None:
        """Handle what happens within a time, as soon as something does."""
        for descriptor, events in self._epoll.poll(seconds):
            if handler := self._handlers.get(descriptor):
                handler(events)
