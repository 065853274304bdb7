"""The built-in image agnhost: as much of Kubernetes' as a lab needs. `agnhost netexec` serves HTTP, UDP, SCTP and TCP.
`agnhost grpc-health-checking`: see grpc_health.py.

    /hostname  /clientip  /echo?msg=TEXT&code=N  /healthz  /exit?code=N  /shutdown, anything else: the time
    over UDP and SCTP: hostname, echo TEXT, clientip

It lacks the real one's /dial, /shell, /upload and /redirect. `--tcp-echo-port` is nslab's own: a TCP echo server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time

from nslab.components.runtime.loop import AT_ONCE, READ, WRITE, Loop
from nslab.components.runtime.loop import accept as accept_on
from nslab.runtime.handlers import handle
from nslab.wire import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Never

FLAGS = {"http-port": 8080, "udp-port": 8081, "sctp-port": -1, "tcp-echo-port": 0}
"""The flags of `netexec` and their defaults; -1 (for the echo port: 0) means no such server."""
ABSENT = ("/dial", "/shell", "/upload", "/redirect")
MOST = 1000
"""Connections at a time, so that a client with many cannot exhaust this process's memory and descriptors."""
_HELD = 1 << 18  # bytes queued for a slow reader before we stop reading from it


def main(arguments: Sequence[str], report: int = -1) -> Never:
    """Run agnhost with these arguments until a signal; write `ready` to the descriptor `report` when it listens."""
    match list(arguments):
        case ["netexec", *flags]:
            run(lambda loop: _serve(loop, parse(flags)), report)
        case [] | ["pause"]:
            run(lambda _: None, report)
        case others:
            fail(f"agnhost {' '.join(others)}: only netexec, grpc-health-checking and pause are built in", report)


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


def parse(flags: Sequence[str], known: Mapping[str, Any] = FLAGS) -> dict[str, Any]:
    """Parse flags, written `--name=value` or `--name value`; ValueError with the message of the real one.

    `known`: the flags with their defaults, numbers or texts.
    """
    values, words = dict(known), list(flags)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--") or name[2:] not in values:
            raise ValueError(f"unknown flag: {name}")
        if not equals:
            if not words:
                raise ValueError(f"flag needs an argument: {name}")
            value = words.pop(0)
        if isinstance(known[name[2:]], str):
            values[name[2:]] = value
            continue
        try:
            values[name[2:]] = int(value)
        except ValueError:
            raise ValueError(f'invalid argument "{value}" for "{name}" flag') from None
        if name.endswith("port") and values[name[2:]] > 65535:
            raise ValueError(f"{name}: no port is greater than 65535")
    return values


def _serve(loop: Loop, flags: dict[str, int]) -> None:
    if flags["http-port"] > 0:
        listener = bind(socket.SOCK_STREAM, flags["http-port"], "http-port")
        accept(loop, listener, lambda peer: HttpPeer(loop, peer))
        log(f"Started HTTP server on port {flags['http-port']}")
    if flags["udp-port"] > 0:
        udp = bind(socket.SOCK_DGRAM, flags["udp-port"], "udp-port")
        loop.watch(udp.fileno(), lambda: answer_udp(udp))
        log(f"Started UDP server on port  {flags['udp-port']}")
    if flags["sctp-port"] > 0:
        listener = bind(socket.SOCK_STREAM, flags["sctp-port"], "sctp-port", socket.IPPROTO_SCTP)
        accept(loop, listener, lambda peer: SctpPeer(loop, peer))
        log(f"Started SCTP server on port {flags['sctp-port']}")
    if flags["tcp-echo-port"] > 0:
        listener = bind(socket.SOCK_STREAM, flags["tcp-echo-port"], "tcp-echo-port")
        accept(loop, listener, lambda peer: EchoPeer(loop, peer))
        log(f"Started TCP echo server on port {flags['tcp-echo-port']}")


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


def _address(name: tuple[str, int]) -> str:
    host, port = name[0].removeprefix("::ffff:"), name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def answer_udp(udp: socket.socket) -> None:
    """Answer waiting datagrams, a limited number at a time."""
    with contextlib.suppress(OSError):
        for _ in range(AT_ONCE):
            data, sender = udp.recvfrom(2048)
            answer = _answer("UDP", data, _address(sender))
            if answer is not None:
                udp.sendto(answer.encode(), sender)


def _answer(protocol: str, data: bytes, client: str) -> str | None:
    text = data.decode("utf-8", "replace").strip().lower()  # the real one converts to lower case, too
    match text.partition(" "):
        case "hostname", "", "":
            return os.uname().nodename
        case "echo", " ", message:
            return message
        case "clientip", "", "":
            return client
        case _:
            log(f"Unknown {protocol} command received from {client}: {text}")
            return None


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


class EchoPeer(TcpPeer):
    """TCP echo."""

    def take(self) -> None:
        """Echo the input."""
        self.output += self.input
        self.input.clear()


class SctpPeer(TcpPeer):
    """One command, one answer. SCTP keeps message boundaries: each read is one message."""

    def take(self) -> None:
        """Answer the message."""
        if self.input:
            self.output += (_answer("SCTP", bytes(self.input), _address(self.socket.getpeername())) or "").encode()
            self.input.clear()


class HttpPeer(TcpPeer):
    """HTTP requests, one after the other, on one connection."""

    block = 1 << 12  # at most some hundred short requests

    def take(self) -> None:
        """Answer all complete requests."""
        try:
            while not self.ended and (request := http.take(self.input)):
                status, body = self.answer(request)
                self.output += http.response(status, body.encode(), request.stays, request.method == "HEAD")
                self.ended = not request.stays
        except http.MalformedRequestError as error:
            self.output += http.response(400, f"{error}\n".encode(), stays=False)
            self.ended = True

    def answer(self, request: http.Request) -> tuple[int, str]:
        """Return status and body of the answer."""
        log(f"GET {request.path}")
        match request.path:
            case "/hostname" | "/hostName":
                return 200, os.uname().nodename
            case "/clientip":
                return 200, _address(self.socket.getpeername())
            case "/echo":
                given = request.query.get("code") or "200"
                code = http.number(given, 999)
                if code is None or code < 100:
                    return 200, f"argument 'code' must be an integer or empty, got {given!r}\n"
                return code, request.query.get("msg", "")
            case "/healthz":
                return 200, ""
            case "/exit" | "/shutdown":
                os._exit(http.number(request.query.get("code", "0"), 127) or 0)
            case path if path in ABSENT:
                return 404, f"{path} is not built in\n"
            case _:
                return 200, f"NOW: {time.strftime('%Y-%m-%d %H:%M:%S +0000 UTC', time.gmtime())}"


if __name__ == "__main__":
    main(sys.argv[1:])
