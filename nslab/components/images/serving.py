"""What the built-in servers share: their start and end, their log, and connections on the loop of their process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from nslab.components.runtime.loop import READ, WRITE, Loop
from nslab.components.runtime.loop import accept as accept_on
from nslab.runtime.handlers import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never

MOST = 1000
"""Connections at a time, so that a client with many cannot exhaust this process's memory and descriptors."""
_HELD = 1 << 18  # bytes queued for a slow reader before we stop reading from it


def run(serve: Callable[[Loop], None], report: int) -> Never:
    """Open what `serve` opens, and serve until a signal comes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # PID 1 of a pid namespace gets only signals that it has a handler for.
        handle(number, lambda *_: os._exit(0))
    loop = Loop()
    try:
        serve(loop)
    except OSError as error:
        fail(error.strerror or str(error), report)
    except ValueError as error:
        fail(str(error), report)
    if report >= 0:
        quietly()
        os.write(report, b"ready\n")
        os.close(report)
    while True:
        loop.turn()


def fail(text: str, report: int) -> Never:
    """Exit with an error: write it to the log, and to the process that waits for `ready`."""
    log(text)
    if report >= 0:
        os.write(report, text.encode())
    os._exit(1)


def bind(kind: int, port: int, flag: str, protocol: int = 0) -> socket.socket:
    """Bind a port on all addresses; the OSError of a failure names the flag."""
    try:
        server = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK, protocol)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = "::"
    except OSError:  # a kernel without IPv6
        address = "0.0.0.0"  # noqa: S104 - in a pod, as the real one
        try:
            server = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK, protocol)
        except OSError as error:  # or without SCTP
            raise OSError(error.errno, f"--{flag}={port}: {error.strerror}") from None
    try:
        if kind == socket.SOCK_STREAM:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen(1024)
    except OSError as error:
        raise OSError(error.errno, f"--{flag}={port}: {error.strerror}") from None
    return server


def accept(loop: Loop, listener: socket.socket, serve: Callable[[socket.socket], object]) -> None:
    """Call `serve` with each new connection; close those beyond `MOST`."""

    def accepted(peer: socket.socket) -> None:
        if TcpPeer.open >= MOST:
            peer.close()
            return
        try:
            peer.setblocking(False)
            if peer.proto != socket.IPPROTO_SCTP:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(peer)
        except OSError:  # the client has gone already, or there is no memory
            peer.close()

    accept_on(loop, listener, accepted)


def log(text: str) -> None:
    """Write a line to the container's log."""
    # Like Go's log package: to stderr, with a timestamp. A full pipe loses the line: see `quietly`.
    with contextlib.suppress(OSError):
        os.write(2, f"{time.strftime('%Y/%m/%d %H:%M:%S', time.gmtime())} {text}\n".encode())


def quietly() -> None:
    """In a container, keep serving when the log's pipe is full because the node's process is stopped or dead."""
    os.set_blocking(2, False)  # no other process shares this open file


class TcpPeer:
    """One connection, with its input and its queued output. `block`: the most bytes to read at a time."""

    block = 1 << 16
    open = 0
    """The number of open connections in this process."""

    def __init__(self, loop: Loop, peer: socket.socket) -> None:
        self.loop, self.socket, self.input, self.output = loop, peer, bytearray(), bytearray()
        self.ended = False
        loop.watch(peer.fileno(), self.turn)
        TcpPeer.open += 1

    def take(self) -> None:
        """Append answers for the input to the output."""
        raise NotImplementedError

    def turn(self) -> None:
        """Read, answer and send as much as possible without blocking."""
        try:
            if not self.ended and len(self.output) < _HELD:
                with contextlib.suppress(BlockingIOError):
                    block = self.socket.recv(self.block)
                    self.ended = not block
                    self.input += block
                    self.take()
        except (OSError, ValueError):  # bad input ends the connection, never the server
            self.close()
        else:
            self.send()

    def send(self) -> None:
        """Send queued output; close the connection when everything is sent and the input has ended."""
        try:
            if self.output:
                with contextlib.suppress(BlockingIOError):
                    del self.output[: self.socket.send(self.output)]
        except OSError:
            self.close()
            return
        if self.ended and not self.output:
            self.close()
            return
        # Level-triggered: watch for input only while we read, for output only while some is queued.
        reading = READ if not self.ended and len(self.output) < _HELD else 0
        self.loop.watch(self.socket.fileno(), self.turn, reading | (WRITE if self.output else 0))

    def close(self) -> None:
        """Close the connection."""
        TcpPeer.open -= self.socket.fileno() >= 0
        self.loop.forget(self.socket.fileno())
        self.socket.close()
