"""Frames of HTTP/2 (RFC 9113): bytes only."""

from __future__ import annotations

from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first."""
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0, 1, 9, 11
LONGEST = 1 << 14
"""The most bytes of a frame that we take: what we say nothing else about."""
_HEAD = 9


class FrameError(ValueError):
    """A frame that is not allowed."""


class Http2Frame(NamedTuple):
    """A frame. `stream` 0: of the connection."""

    kind: int
    flags: int
    stream: int
    body: bytes

    def __bytes__(self) -> bytes:
        length = len(self.body).to_bytes(3, "big")
        return length + bytes([self.kind, self.flags]) + self.stream.to_bytes(4, "big") + self.body

    @property
    def payload(self) -> bytes:
        """The data or the headers of the frame, without padding and priority."""
        body, padding = self.body, 0
        if self.flags & PADDED and self.kind in (DATA, HEADERS):
            if not body:
                raise FrameError("padding is missing")
            padding, body = body[0], body[1:]
        if self.flags & PRIORITY and self.kind == HEADERS:
            body = body[5:]
        if padding > len(body):
            raise FrameError("there is more padding than frame")
        return body[: len(body) - padding]


def take(received: bytearray) -> Http2Frame | None:
    """Take the first frame out of what was received; None if it is not whole yet. FrameError if it is too long."""
    if len(received) < _HEAD:
        return None
    length = int.from_bytes(received[:3], "big")
    if length > LONGEST:
        raise FrameError("the frame is too long")
    if len(received) < _HEAD + length:
        return None
    stream = int.from_bytes(received[5:9], "big") & 0x7FFFFFFF
    frame = Http2Frame(received[3], received[4], stream, bytes(received[_HEAD : _HEAD + length]))
    del received[: _HEAD + length]
    return frame
