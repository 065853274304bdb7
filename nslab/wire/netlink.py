"""Netlink's wire format: messages of a header and attributes, each padded to four bytes (netlink(7), rtnetlink(7))."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST, ACK, REPLACE, EXCL, CREATE, APPEND, DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE, GETRULE = 32, 33, 34
GETQDISC, GETTCLASS, GETTFILTER = 38, 42, 46
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RTMGRP_IPV4_ROUTE = 0x40

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")

IFF_UP = 1


def message(kind: int, flags: int, body: bytes) -> bytes:
    """One message with sequence number 0; see `numbered`."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, 0, 0) + body


def numbered(raw: bytes, sequence: int, flags: int = 0) -> bytes:
    """The message with a sequence number, to which the reply refers, and more flags."""
    length, kind, old, _, port = _HEADER.unpack_from(raw)
    return _HEADER.pack(length, kind, old | flags, sequence, port) + raw[_HEADER.size :]


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in host byte order."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def link_header(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """struct ifinfomsg."""
    return _LINK.pack(family, 0, index, flags, change)


def mac_bytes(mac: str) -> bytes:
    """The six bytes of `aa:bb:cc:dd:ee:ff`."""
    return bytes.fromhex(mac.replace(":", ""))


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, sequence number and body of each message in a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        yield kind, sequence, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def each_attribute(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Attributes in their order, each with its type as in `attributes`; one of a type may follow another."""
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    """Attributes by type, without the flags for nesting and byte order."""
    return dict(each_attribute(data, at))
