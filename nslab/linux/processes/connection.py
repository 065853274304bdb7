"""A connection to a process of a lab: one JSON object per line, over a socket in the lab's folder."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

from nslab.linux.timeouts import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT = scaled(10.0)
"""Seconds that a process of a lab may take to answer a request."""


class Connection:
    """A connection to a process of a lab. All methods raise TimeoutError at their deadline (monotonic time)."""

    def __init__(self, connection: socket.socket, whose: str = "the node's") -> None:
        self.socket, self._whose = connection, whose
        self._received = bytearray()

    def send(self, requests: Sequence[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
        """Send all requests, and read answers meanwhile, so that neither side blocks on a full buffer."""
        data = memoryview(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        answers: list[dict[str, Any]] = []
        while data:
            events = self._poll(deadline, select.POLLOUT | select.POLLIN)
            if events & select.POLLOUT:
                data = data[self.socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
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
        block = self.socket.recv(1 << 18, socket.MSG_DONTWAIT)
        if not block:
            raise ConnectionResetError(f"{self._whose} process ended")
        self._received += block
        if b"\n" not in block:
            return []  # a line may have megabytes: split it only once
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines]


def connect(path: Path) -> socket.socket:
    """Connect to a Unix socket, whatever the length of its path."""
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Through a descriptor: sun_path has at most 107 bytes.
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection
