"""A connection to a process of a lab: one JSON object per line, over a socket in the lab's folder."""

from __future__ import annotations

import json
import select
import time
from typing import TYPE_CHECKING, Any

from nslab.linux.timeouts import scaled
from nslab.runtime import rpc

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

TIMEOUT = scaled(10.0)
"""Seconds that a process of a lab may take to answer a request."""


class Connection:
    """A connection to a process of a lab. All methods raise TimeoutError at their deadline (monotonic time)."""

    def __init__(self, connection: socket.socket, whose: str = "the node's") -> None:
        self.socket, self._whose = connection, whose
        self._received = rpc.Lines()

    def send(self, requests: Sequence[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
        """Send all requests, and read answers meanwhile, so that neither side blocks on a full buffer."""
        data = memoryview(b"".join(map(rpc.line, requests)))
        answers: list[dict[str, Any]] = []
        while data:
            events = self._poll(deadline, select.POLLOUT | select.POLLIN)
            if events & select.POLLOUT:
                data = data[rpc.send(self.socket, data) :]
            if events & select.POLLIN:
                answers += self._read()
        return answers

    def receive(self, count: int, deadline: float) -> list[dict[str, Any]]:
        """Return at least `count` answers."""
        answers: list[dict[str, Any]] = []
        while len(answers) < count:
            self._poll(deadline, select.POLLIN)
            answers += self._read()
        return answers

    def _poll(self, deadline: float, events: int) -> int:
        poll = select.poll()
        poll.register(self.socket, events)
        happened = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not happened:
            raise TimeoutError(f"{self._whose} process does not answer")
        return happened[0][1]

    def _read(self) -> list[dict[str, Any]]:
        block = rpc.receive(self.socket)
        if not block:
            raise ConnectionResetError(f"{self._whose} process ended")
        return [json.loads(line) for line in self._received.take(block)]
