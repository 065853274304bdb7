"""A captured packet as one line, as tcpdump prints it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from nslab.trace.rewrites import decoded
from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.trace.folded import FoldedPacket
    from nslab.wire.packets import DecodedPacket

_ECHO = {8: "echo request", 0: "echo reply"}
_ERRORS = {3: "unreachable", 4: "source quench", 5: "redirect", 11: "time exceeded", 12: "parameter problem"}
_FLAGS = {1: "F", 2: "S", 4: "R", 8: "P", 16: ".", 32: "U"}
"""TCP's flags as tcpdump writes them."""
_NAMES = {packets.ICMP: "ICMP", packets.TCP: "TCP", packets.UDP: "UDP"}


_WIDEST = 40
"""Columns: a pod's name may have 253 letters, and one such pod shall not push all lines aside."""


def width(names: Iterable[str]) -> int:
    """The columns that HOST:INTERFACE takes, of all that may come."""
    return min(max(map(len, names), default=0), _WIDEST)


def line(
    at: int, where: str, data: bytes, *, ethernet: bool, outgoing: bool, comment: str = "", columns: int = 0
) -> str:
    """The line. `at`: nanoseconds since 1970; `where`: HOST:INTERFACE, in `columns`."""
    way = "Out" if outgoing else "In "
    told = f"    # {comment}" if comment else ""
    return f"{clock(at)} {where:<{columns}} {way} {_what(data, ethernet=ethernet)}{told}"


def folded_line(packet: FoldedPacket) -> str:
    """A packet as it was first seen, the interfaces that it passed, what NAT changed of it there, and how long it took.

    An interface through which it came and left, as a bridge's ports see it, stands there once.
    """
    places = [
        f"{one.where} [{one.comment.partition(': ')[2]}]" if one.comment else one.where
        for number, one in enumerate(packet.stations)
        if not number or one.comment or one.where != packet.stations[number - 1].where
    ]
    took = (packet.last - packet.at) / 1e6
    what = _what(packet.data, ethernet=packet.ethernet)
    return f"{clock(packet.at)} {what}: {' > '.join(places)} ({took:.3f} ms)"


def clock(at: int) -> str:
    """The time of day here, with microseconds. `at`: nanoseconds since 1970."""
    return f"{datetime.fromtimestamp(at // 1_000_000_000):%H:%M:%S}.{at // 1000 % 1_000_000:06}"


def _what(data: bytes, *, ethernet: bool) -> str:
    packet = decoded(data, ethernet=ethernet)
    if packet:
        return _packet(packet)
    kind = data[12:14].hex() if ethernet else ""
    if kind == "0806" and (heard := packets.arp(data[14:])):
        operation, sender, target = heard
        if operation == packets.ARP_REQUEST:
            return f"ARP who-has {target} tell {sender}"
        return f"ARP {sender} is-at {data[22:28].hex(':')}"
    if kind == "86dd" or (not ethernet and data[:1] and data[0] >> 4 == 6):
        return f"IPv6, {len(data)} bytes"
    return f"EtherType 0x{kind}, {len(data)} bytes"


def _packet(packet: DecodedPacket) -> str:
    ends = f"{_end(packet.source, packet.ports[0])} > {_end(packet.target, packet.ports[1])}"
    outer = packet.outer
    around = f" in [{outer.source} > {outer.target}]" if outer else ""
    return f"IP {ends}{around}: {_kind(packet)}, ttl {packet.ttl}, length {packet.length}"


def _kind(packet: DecodedPacket) -> str:
    if packet.protocol == packets.TCP:
        flags = "".join(sign for bit, sign in _FLAGS.items() if packet.flags & bit) or "none"
        acknowledged = f", ack {packet.acknowledges}" if packet.answers else ""
        return f"TCP [{flags}], seq {packet.sequence}{acknowledged}"
    if packet.protocol == packets.ICMP:
        kind, code = packet.code
        name = _ECHO.get(kind) or f"{_ERRORS.get(kind, f'type {kind}')} code {code}"
        return f"ICMP {name}"
    return _NAMES.get(packet.protocol, f"protocol {packet.protocol}")


def _end(address: object, port: int) -> str:
    return f"{address}.{port}" if port else f"{address}"
