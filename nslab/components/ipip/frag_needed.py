"""ICMP "fragmentation needed": the answer of a router or a tunnel to a packet with DF that exceeds the path MTU."""

from __future__ import annotations

import contextlib
import socket
import struct

from nslab.wire import icmp

DF = 0x40
"""Don't Fragment, in the seventh byte of an IPv4 header."""
IP_MTU = 14


class FragmentationNeeded:
    """Reports the path MTU to senders (ICMP: fragmentation needed). The kernel chooses the source address."""

    def __init__(self) -> None:
        self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        self._icmp.setsockopt(icmp.SOL_RAW, icmp.FILTER, struct.pack("=I", 0xFFFFFFFF))  # receives nothing

    def answer(self, inner: bytes, outer: int, towards: str) -> None:
        """Answer the sender of `inner` with the path MTU `towards` a machine, less `outer` bytes of encapsulation."""
        with contextlib.suppress(OSError):
            message = icmp.fragmentation_needed(inner, path_mtu(towards) - outer)
            self._icmp.sendto(message, (socket.inet_ntoa(inner[12:16]), 0))


def path_mtu(towards: str) -> int:
    """The kernel's path MTU to a machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((towards, 9))
        return int(sock.getsockopt(socket.IPPROTO_IP, IP_MTU))
