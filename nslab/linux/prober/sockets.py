"""The prober's sockets in one host's namespace, and what goes through them."""

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
_FROM_ICMP = 2  # sock_extended_err.ee_origin: a router or the other end said it, not this kernel


class HostSockets:
    """The prober's sockets in the namespace of one host; made while this thread is in it."""

    def __init__(self, address: IPv4Address) -> None:
        self.echo = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        self.echo.setsockopt(
            icmp.SOL_RAW, icmp.FILTER, struct.pack("=I", 0xFFFFFFFF ^ (1 << icmp.ECHO_REPLY | 1 << icmp.ECHO))
        )
        # Nobody may cut these packets, and nothing is believed that was learnt of paths before.
        self.echo.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
        self.asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        for sock in (self.echo, self.asker):
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.answerer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        for sock in (self.answerer, self.listener):
            # Bound, so that answers come from where the question went; free, since the address may be what is missing.
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.bind((str(address), 0))
        self.listener.listen(1024)
        self.udp = (str(address), self.answerer.getsockname()[1])
        self.tcp = (str(address), self.listener.getsockname()[1])

    def sockets(self) -> tuple[socket.socket, ...]:
        """All four."""
        return self.echo, self.asker, self.answerer, self.listener


def echo_request(identity: int, number: int, message: bytes, size: int) -> bytes:
    """An ICMP echo request that carries a message, as large as an IP packet of `size` bytes may be (0: no larger)."""
    # What fills it up is zeros, which count for nothing in the checksum.
    short = icmp.echo(identity, number, message)
    return short + bytes(max(0, size - 20 - len(short)))


def received(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """What waits in a socket. An error there is another packet's, and told by the error queue."""
    with suppress(OSError):
        while True:
            yield sock.recvfrom(1 << 16)


def socket_errors(sock: socket.socket) -> Iterator[tuple[bytes, int, str]]:
    """From the error queue: the beginning of a packet, the errno it met, and the router that said so (IP_RECVERR)."""
    with suppress(BlockingIOError):
        while True:
            data, extras, _, _ = sock.recvmsg(1 << 11, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            for level, kind, value in extras:
                if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
                    number, origin = struct.unpack_from("=IB", value)
                    yield data, number, str(IPv4Address(value[20:24])) if origin == _FROM_ICMP else ""
