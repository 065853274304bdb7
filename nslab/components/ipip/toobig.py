"""What a router, and a tunnel's entrance, answers to a packet that is too large for the way and must not be cut."""

from __future__ import annotations

import contextlib
import socket
import struct

DF = 0x40
"""Don't Fragment, in the seventh byte of an IPv4 header."""
IP_MTU, SOL_RAW, ICMP_FILTER = 14, 255, 1
HEADERS = 28  # of the packet that is complained of: an IPv4 header and 8 bytes of what follows


class TooBig:
    """Tells senders how much fits (ICMP: fragmentation needed). The kernel chooses whose address the answer bears."""

    def __init__(self) -> None:
        self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        self._icmp.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF))  # it hears nothing

    def answer(self, inner: bytes, outer: int, towards: str) -> None:
        """Tell the sender of `inner` what fits: `outer` bytes come around it on the way `towards` a machine."""
        with contextlib.suppress(OSError):
            said = needed(inner, path_mtu(towards) - outer)
            self._icmp.sendto(said, (socket.inet_ntoa(inner[12:16]), 0))


def path_mtu(towards: str) -> int:
    """The largest packet that the kernel thinks gets to a machine whole."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((towards, 9))
        return int(asking.getsockopt(socket.IPPROTO_IP, IP_MTU))


def needed(packet: bytes, mtu: int) -> bytes:
    """The ICMP message (RFC 792, RFC 1191): type 3, code 4, the MTU, and what it is about."""
    body = packet[:HEADERS]
    head = struct.pack("!BBHHH", 3, 4, 0, 0, mtu)
    return head[:2] + struct.pack("!H", checksum(head + body)) + head[4:] + body


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
