"""The built-in image agnhost: as much of Kubernetes' as a lab needs. `agnhost netexec` serves HTTP, UDP, SCTP and TCP.
`agnhost grpc-health-checking`: see grpc_health.py.

    /hostname  /clientip  /echo?msg=TEXT&code=N  /healthz  /exit?code=N  /shutdown, anything else: the time
    over UDP and SCTP: hostname, echo TEXT, clientip

It lacks the real one's /dial, /shell, /upload and /redirect. `--tcp-echo-port` is nslab's own: a TCP echo server.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

from nslab.components.images import serving
from nslab.components.runtime.loop import AT_ONCE, Loop
from nslab.wire import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Never

FLAGS = {"http-port": 8080, "udp-port": 8081, "sctp-port": -1, "tcp-echo-port": 0}
"""The flags of `netexec` and their defaults; -1 (for the echo port: 0) means no such server."""
ABSENT = ("/dial", "/shell", "/upload", "/redirect")


def main(arguments: Sequence[str], report: int = -1) -> Never:
    """Run agnhost with these arguments until a signal; write `ready` to the descriptor `report` when it listens."""
    match list(arguments):
        case ["netexec", *flags]:
            serving.run(lambda loop: _serve(loop, parse(flags)), report)
        case [] | ["pause"]:
            serving.run(lambda _: None, report)
        case others:
            serving.fail(
                f"agnhost {' '.join(others)}: only netexec, grpc-health-checking and pause are built in", report
            )


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
        listener = serving.bind(socket.SOCK_STREAM, flags["http-port"], "http-port")
        serving.accept(loop, listener, lambda peer: HttpPeer(loop, peer))
        serving.log(f"Started HTTP server on port {flags['http-port']}")
    if flags["udp-port"] > 0:
        udp = serving.bind(socket.SOCK_DGRAM, flags["udp-port"], "udp-port")
        loop.watch(udp.fileno(), lambda: answer_udp(udp))
        serving.log(f"Started UDP server on port  {flags['udp-port']}")
    if flags["sctp-port"] > 0:
        listener = serving.bind(socket.SOCK_STREAM, flags["sctp-port"], "sctp-port", socket.IPPROTO_SCTP)
        serving.accept(loop, listener, lambda peer: SctpPeer(loop, peer))
        serving.log(f"Started SCTP server on port {flags['sctp-port']}")
    if flags["tcp-echo-port"] > 0:
        listener = serving.bind(socket.SOCK_STREAM, flags["tcp-echo-port"], "tcp-echo-port")
        serving.accept(loop, listener, lambda peer: EchoPeer(loop, peer))
        serving.log(f"Started TCP echo server on port {flags['tcp-echo-port']}")


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
            serving.log(f"Unknown {protocol} command received from {client}: {text}")
            return None


class EchoPeer(serving.TcpPeer):
    """TCP echo."""

    def take(self) -> None:
        """Echo the input."""
        self.output += self.input
        self.input.clear()


class SctpPeer(serving.TcpPeer):
    """One command, one answer. SCTP keeps message boundaries: each read is one message."""

    def take(self) -> None:
        """Answer the message."""
        if self.input:
            self.output += (_answer("SCTP", bytes(self.input), _address(self.socket.getpeername())) or "").encode()
            self.input.clear()


class HttpPeer(serving.TcpPeer):
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
        serving.log(f"GET {request.path}")
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
