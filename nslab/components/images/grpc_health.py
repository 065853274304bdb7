"""`agnhost grpc-health-checking`: gRPC's health service, and an HTTP server that makes it unhealthy and healthy.

    --port 5000  --http-port 8080  --delay-unhealthy-sec -1  --service ""
    /make-not-serving  /make-serving

Flags, answers and logs are those of Kubernetes' agnhost. It has only the method Check, as that one.
"""

from __future__ import annotations

import socket
import sys
import time

from nslab.components.images import agnhost, serving
from nslab.wire import http2
from nslab.wire.hpack import CompressionError, HeaderDecoder, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Never

    from nslab.components.runtime.loop import Loop
    from nslab.wire import http

FLAGS = {"port": 5000, "http-port": 8080, "delay-unhealthy-sec": -1, "service": ""}
PATH, SERVICE = "/grpc.health.v1.Health/", "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2
OK, INVALID, NOT_FOUND, UNIMPLEMENTED = 0, 3, 5, 12
"""Codes of gRPC."""
_SERVICE_FIELD = 0x0A
"""The tag of the only field of a HealthCheckRequest, a string."""
_STREAMS = 100
"""The most calls at a time on one connection."""
_HEADERS = 1 << 14
_QUESTION = 1 << 12


class ServingStatus:
    """What the service answers."""

    def __init__(self, service: str, delay: int) -> None:
        self._service, self._delay, self._began = service, delay, time.monotonic()
        self.forced = False
        """Whether it was made unhealthy."""

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def check(self, service: str) -> int | None:
        """The status of a service; None if there is none of that name."""
        if service != self._service:
            return None
        return NOT_SERVING if self.forced or 0 <= self._delay <= self.age else SERVING


def main(arguments: Sequence[str], report: int = -1) -> Never:
    """Run it until a signal, with agnhost's arguments; write `ready` to the descriptor `report` when it listens."""
    serving.run(lambda loop: serve(loop, arguments[1:]), report)


def serve(loop: Loop, flags: Sequence[str]) -> None:
    """Open both servers. ValueError for a wrong flag."""
    values = agnhost.parse(flags, FLAGS)
    health = ServingStatus(values["service"], values["delay-unhealthy-sec"])
    switch = serving.bind(socket.SOCK_STREAM, values["http-port"], "http-port")
    serving.accept(loop, switch, lambda peer: _Switch(loop, peer, health))
    serving.log(f"Http server starting to listen on :{values['http-port']}")
    listener = serving.bind(socket.SOCK_STREAM, values["port"], "port")
    serving.accept(loop, listener, lambda peer: GrpcPeer(loop, peer, health))
    serving.log(f"gRPC server starting to listen on :{values['port']}")


class _Switch(agnhost.HttpPeer):
    """A connection to the HTTP server."""

    def __init__(self, loop: Loop, peer: socket.socket, health: ServingStatus) -> None:
        super().__init__(loop, peer)
        self._health = health

    def answer(self, request: http.Request) -> tuple[int, str]:
        """Return status and body of the answer."""
        if request.path not in ("/make-not-serving", "/make-serving"):
            return 404, "404 page not found\n"
        self._health.forced = request.path == "/make-not-serving"
        serving.log(f"Mark as {'unhealthy' if self._health.forced else 'healthy'}")
        return 200, f"{self._health.age:.9f}s"


class _Call:
    """A call whose question is not whole yet."""

    def __init__(self) -> None:
        self.headers, self.data, self.path = b"", b"", ""


class GrpcPeer(serving.TcpPeer):
    """A connection of HTTP/2 with calls of gRPC."""

    block = 1 << 14

    def __init__(self, loop: Loop, peer: socket.socket, health: ServingStatus) -> None:
        super().__init__(loop, peer)
        self._health, self._decoder = health, HeaderDecoder()
        self._calls: dict[int, _Call] = {}
        self._greeted = False
        self._unfinished = 0
        """The stream whose headers go on in the next frame."""

    def take(self) -> None:
        """Answer all frames that are whole."""
        if not self._greeted:
            start = bytes(self.input[: len(http2.PREFACE)])
            if start != http2.PREFACE[: len(start)]:
                self.ended = True
            if start != http2.PREFACE:
                return
            del self.input[: len(http2.PREFACE)]
            self._greeted = True
            self._say(http2.SETTINGS)
        try:
            while not self.ended and (frame := http2.take(self.input)):
                self._take(frame)
        except CompressionError:
            self._go_away(http2.COMPRESSION_ERROR)
        except http2.FrameError:
            self._go_away(http2.PROTOCOL_ERROR)

    def _say(self, kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> None:
        self.output += bytes(http2.Http2Frame(kind, flags, stream, body))

    def _go_away(self, error: int) -> None:
        self._say(http2.GOAWAY, body=bytes(4) + error.to_bytes(4, "big"))
        self.ended = True

    def _take(self, frame: http2.Http2Frame) -> None:
        if self._unfinished and (frame.kind, frame.stream) != (http2.CONTINUATION, self._unfinished):
            raise http2.FrameError("headers go on in the next frame")
        match frame.kind:
            case http2.SETTINGS if not frame.flags & http2.ACK:
                self._say(http2.SETTINGS, http2.ACK)
            case http2.PING if not frame.flags & http2.ACK:
                self._say(http2.PING, http2.ACK, body=frame.body)
            case http2.GOAWAY:
                self.ended = True
            case http2.RST_STREAM:
                self._calls.pop(frame.stream, None)
            case http2.HEADERS | http2.CONTINUATION:
                self._headers(frame)
            case http2.DATA:
                self._data(frame)
            case _:
                pass

    def _headers(self, frame: http2.Http2Frame) -> None:
        if not frame.stream or (frame.kind == http2.CONTINUATION and not self._unfinished):
            raise http2.FrameError("headers of no stream")
        call = self._calls.setdefault(frame.stream, _Call())
        call.headers += frame.payload
        if len(call.headers) > _HEADERS or len(self._calls) > _STREAMS:
            self._go_away(http2.ENHANCE_YOUR_CALM)
            return
        self._unfinished = 0 if frame.flags & http2.END_HEADERS else frame.stream
        if not self._unfinished:
            call.path = dict(self._decoder.decode(call.headers)).get(":path", call.path)
            call.headers = b""
        if frame.kind == http2.HEADERS and frame.flags & http2.END_STREAM:
            self._answer(frame.stream, b"")

    def _data(self, frame: http2.Http2Frame) -> None:
        if call := self._calls.get(frame.stream):
            call.data += frame.payload
            if len(call.data) > _QUESTION:
                self._go_away(http2.ENHANCE_YOUR_CALM)
            elif frame.flags & http2.END_STREAM:
                self._answer(frame.stream, call.data)

    def _answer(self, stream: int, data: bytes) -> None:
        call = self._calls.pop(stream)
        code, status, message = self._outcome(call.path, data)
        begin = [(":status", "200"), ("content-type", "application/grpc")]
        end = [("grpc-status", str(code)), *([("grpc-message", message)] if message else [])]
        if status is None:
            self._say(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, encoded([*begin, *end]))
            return
        self._say(http2.HEADERS, http2.END_HEADERS, stream, encoded(begin))
        self._say(http2.DATA, 0, stream, b"\0\0\0\0\x02\x08" + bytes([status]))
        self._say(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, encoded(end))

    def _outcome(self, path: str, data: bytes) -> tuple[int, int | None, str]:
        """The code, the status of health, and a message."""
        if path == f"{PATH}Watch":
            return UNIMPLEMENTED, None, "unimplemented"
        if path != f"{PATH}Check":
            where, _, method = path.strip("/")[:60].rpartition("/")
            what = f"unknown method {method} for service {where}" if where == SERVICE else f"unknown service {where}"
            return UNIMPLEMENTED, None, _percent(what)
        service = asked(data)
        if service is None:
            return INVALID, None, "malformed question"
        serving.log("Serving the Check request for health check")
        status = self._health.check(service)
        return (NOT_FOUND, None, "unknown service") if status is None else (OK, status, "")


def asked(data: bytes) -> str | None:
    """The service in a HealthCheckRequest, as a message of gRPC; None for anything else."""
    message = data[5:]
    if data[:1] != b"\0" or int.from_bytes(data[1:5], "big") != len(message):
        return None
    if not message:
        return ""
    length, begin = _varint(message[1:3])
    name = message[1 + begin :]
    return name.decode("utf-8", "replace") if message[0] == _SERVICE_FIELD and len(name) == length else None


def _varint(data: bytes) -> tuple[int, int]:
    """A number of one or two bytes, and how many it takes; -1 if it is not whole."""
    if not data or data[0] < 0x80:
        return (data[0] if data else -1), 1
    return (data[0] & 0x7F | data[1] << 7, 2) if len(data) > 1 and data[1] < 0x80 else (-1, 2)


def _percent(text: str) -> str:
    """A text as grpc-message has it."""
    return "".join(char if " " <= char <= "~" and char != "%" else f"%{ord(char) & 0xFF:02X}" for char in text)


if __name__ == "__main__":
    main(sys.argv[1:])
