"""ICMP for IPv4 (RFC 792): bytes only."""

from __future__ import annotations

import struct

ECHO_REPLY, UNREACHABLE, ECHO = 0, 3, 8
ECHOES = (ECHO, ECHO_REPLY)
FRAGMENTATION_NEEDED = 4
"""A code of UNREACHABLE (RFC 1191)."""
SOL_RAW, FILTER = 255, 1
"""For setsockopt: a bit mask of the message types that a raw socket does not receive."""
QUOTED = 28
"""The length of the original packet in an error: an IPv4 header and 8 bytes of payload."""


def message(kind: int, code: int, words: tuple[int, int], body: bytes = b"") -> bytes:
    """A message with its checksum; `words`: the second half of its header."""
    head = struct.pack("!BBHHH", kind, code, 0, *words)
    return head[:2] + struct.pack("!H", checksum(head + body)) + head[4:] + body


def fragmentation_needed(packet: bytes, mtu: int) -> bytes:
    """The error for the sender of a packet with DF that exceeds `mtu` bytes."""
    return message(UNREACHABLE, FRAGMENTATION_NEEDED, (0, mtu), packet[:QUOTED])


def echo(identity: int, number: int, body: bytes) -> bytes:
    """An echo request."""
    return message(ECHO, 0, (identity, number & 0xFFFF), body)


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
