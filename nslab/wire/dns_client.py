"""A DNS client's messages: a query for the A records of one name, and its response (RFC 1035); bytes only."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from nslab.wire.dns import IN, A

_RECURSE = 0x0100
_POINTER = 0xC0
_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def query(number: int, name: str) -> bytes:
    """A recursive query for the A records of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!HHHHHH", number, _RECURSE, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", A, IN)


def answer(packet: bytes, number: int) -> tuple[tuple[IPv4Address, ...], str] | None:
    """The addresses and the error ("" if none); None if the packet is not a response to query `number`."""
    try:
        found, flags, questions, answers = struct.unpack_from("!HHHH", packet)
        if found != number or not flags & 0x8000:
            return None
        at, addresses = 12, []
        for _ in range(questions):
            at = _skip(packet, at) + 4
        for _ in range(answers):
            at = _skip(packet, at)
            kind, _class, _ttl, length = struct.unpack_from("!HHIH", packet, at)
            if kind == A:
                addresses.append(IPv4Address(packet[at + 10 : at + 14]))
            at += 10 + length
    except (struct.error, IndexError, ValueError):
        return None
    code = flags & 15
    return tuple(addresses), _CODES.get(code, f"code {code}") if code else ("" if addresses else "no address")


def _skip(packet: bytes, at: int) -> int:
    """The offset after a name, which ends with an empty label or a compression pointer."""
    while packet[at]:
        if packet[at] & _POINTER == _POINTER:
            return at + 2
        at += 1 + packet[at]
    return at + 1
