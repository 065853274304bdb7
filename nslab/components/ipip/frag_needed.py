"""What a router, and a tunnel's entrance, answers to a packet that is too large for the way and must not be cut."""

from __future__ import annotations

import contextlib
import socket
import struct

from nslab.wire import icmp

DF = 0x40
"""Don't Fragment, in the seventh byte of an IPv4 header."""
IP_MTU = 14


class FragmentationNeeded:
    """Tells senders how much fits (ICMP: fragmentation needed). The kernel chooses whose address the answer bears."""

    def __init__(self) -> None:
        self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        self._icmp.setsockopt(icmp.SOL_RAW, icmp.FILTER, struct.pack("=I", 0xFFFFFFFF))  # it hears nothing

    def answer(self, inner: bytes, outer: int, towards: str) -> None:
        """Tell the sender of `inner` what fits: `outer` bytes come around it on the way `towards` a machine."""
        with contextlib.suppress(OSError):
            message = icmp.fragmentation_needed(inner, path_mtu(towards) - outer)
            self._icmp.sendto(message, (socket.inet_ntoa(inner[12:16]), 0))


def path_mtu(towards: str) -> int:
    """The largest packet that the kernel thinks gets to a machine whole."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((towards, 9))
        return int(asking.getsockopt(socket.IPPROTO_IP, IP_MTU))
