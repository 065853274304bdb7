"""Blocks of a pcapng file: one section, a description of each interface, and packets with times in nanoseconds.

The format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html.
"""

from __future__ import annotations

import struct

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_MAGIC, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1
ETHERNET, RAW = 1, 101
"""Link types: frames with an Ethernet header; packets that begin with their IP header."""
INBOUND, OUTBOUND = 1, 2
_COMMENT, _HARDWARE, _APPLICATION = 1, 2, 4
_NAME, _DESCRIPTION, _RESOLUTION = 2, 3, 9
_FLAGS = 2
_RECEIVED, _DROPPED = 4, 5
_NANOSECONDS = bytes([9])  # a unit of 10^-9 s


def section(application: str) -> bytes:
    """The beginning of a file."""
    body = struct.pack("=IHHq", _MAGIC, 1, 0, _UNKNOWN_LENGTH)
    return _block(_SECTION, body + _options((_APPLICATION, application.encode())))


def interface(link_type: int, name: str, description: str = "") -> bytes:
    """An interface; its number is its place among all of the file, from 0."""
    options = [(_NAME, name.encode()), (_DESCRIPTION, description.encode()), (_RESOLUTION, _NANOSECONDS)]
    return _block(_INTERFACE, struct.pack("=HHI", link_type, 0, 0) + _options(*options))


def packet(number: int, at: int, data: bytes, length: int, direction: int, comment: str = "") -> bytes:
    """A packet at the interface `number`. `at`: nanoseconds since 1970; `length`: its bytes; `data` may have less."""
    head = struct.pack("=IIIII", number, at >> 32, at & 0xFFFFFFFF, len(data), length)
    flags = (_FLAGS, struct.pack("=I", direction))
    return _block(_PACKET, head + _padded(data) + _options((_COMMENT, comment.encode()), flags))


def statistics(number: int, at: int, received: int, dropped: int) -> bytes:
    """How many packets an interface passed, and how many of them were lost before they were read."""
    head = struct.pack("=III", number, at >> 32, at & 0xFFFFFFFF)
    counts = [(_RECEIVED, struct.pack("=Q", received)), (_DROPPED, struct.pack("=Q", dropped))]
    return _block(_STATISTICS, head + _options(*counts))


def _options(*options: tuple[int, bytes]) -> bytes:
    """Options, without those that are empty, and their end."""
    given = b"".join(struct.pack("=HH", code, len(value)) + _padded(value) for code, value in options if value)
    return given + struct.pack("=HH", 0, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", 12 + len(body))
    return struct.pack("=I", kind) + length + body + length
