"""A node's connection to the lab's control process, which reconnects whenever it breaks."""

from __future__ import annotations

import time

from nslab import rundir
from nslab.components.runtime.peers import Peer
from nslab.runtime.rpc import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.runtime.loop import Watches

SOONEST, LATEST = 0.02, 0.5
"""Seconds before the next attempt to connect, at first and at most."""


class ControlConnection:
    """Sends `greeting()` after each connect, and passes messages from control to `hear`."""

    def __init__(
        self, loop: Watches, run: str, greeting: Callable[[], dict[str, Any]], hear: Callable[[dict[str, Any]], None]
    ) -> None:
        self._loop, self._path, self._greeting, self._hear = loop, f"{run}/{rundir.CONTROL_SOCKET}", greeting, hear
        self._peer: Peer | None = None
        self._wait = SOONEST
        self._connect()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; drop it without a connection, as the greeting contains everything."""
        if self._peer:
            self._peer.send(message)

    def _connect(self) -> None:
        try:
            connection = connect(self._path)
        except OSError:
            self._loop.at(time.monotonic() + self._wait, self._connect)
            self._wait = min(self._wait * 2, LATEST)
            return
        self._wait = SOONEST
        self._peer = Peer(self._loop, connection, self._receive, self._lost)
        self._peer.send(self._greeting())

    def _receive(self, _: Peer, message: dict[str, Any]) -> dict[str, Any]:
        self._hear(message)
        return {}

    def _lost(self) -> None:
        self._peer = None
        self._loop.at(time.monotonic() + self._wait, self._connect)
