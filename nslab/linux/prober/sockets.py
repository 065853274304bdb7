"""The prober's sockets in one host's namespace, and their packets."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.wire import icmp

if TYPE_CHECKING:
    from collections.abc import Iterator

IP_RECVERR = 11
_IP_MTU_DISCOVER, _PROBE, _IP_FREEBIND = 10, 3, 15
_FROM_ICMP = 2  # sock_extended_err.ee_origin: the error came from a router or the target, not from this kernel


class HostSockets:
    """The prober's sockets in one host's namespace; the caller's thread is in it."""

    def __init__(self, address: IPv4Address) -> None:
        self.echo = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        self.echo.setsockopt(
            icmp.SOL_RAW, icmp.FILTER, struct.pack("=I", 0xFFFFFFFF ^ (1 << icmp.ECHO_REPLY | 1 << icmp.ECHO))
        )
        # Set DF on these packets, and ignore the path MTUs that the kernel has cached.
        self.echo.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
        self.asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        for sock in (self.echo, self.asker):
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.answerer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        for sock in (self.answerer, self.listener):
            # Bound, so that answers come from the address that was asked; IP_FREEBIND, because a broken lab may lack
            # the address.
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.bind((str(address), 0))
        self.listener.listen(1024)
        self.udp = (str(address), self.answerer.getsockname()[1])
        self.tcp = (str(address), self.listener.getsockname()[1])

    def sockets(self) -> tuple[socket.socket, ...]:
        """All four sockets."""
        return self.echo, self.asker, self.answerer, self.listener


def echo_request(identity: int, number: int, message: bytes, size: int) -> bytes:
    """An ICMP echo request that carries a message, padded to an IP packet of `size` bytes (0: no padding)."""
    # Zeros do not change the checksum.
    short = icmp.echo(identity, number, message)
    return short + bytes(max(0, size - 20 - len(short)))


def received(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """Yield all packets in a socket's buffer. Errors belong to sent packets; the error queue has them."""
    with suppress(OSError):
        while True:
            yield sock.recvfrom(1 << 16)


def socket_errors(sock: socket.socket) -> Iterator[tuple[bytes, int, str]]:
    """Read the error queue (IP_RECVERR): the start of a sent packet, its errno, and the router that reported it."""
    with suppress(BlockingIOError):
        while True:
            data, extras, _, _ = sock.recvmsg(1 << 11, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            for level, kind, value in extras:
                if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
                    number, origin = struct.unpack_from("=IB", value)
                    yield data, number, str(IPv4Address(value[20:24])) if origin == _FROM_ICMP else ""
