"""Packet sockets for all interfaces of a namespace."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.netns import Namespaces

ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806
OTHERHOST, OUTGOING = 3, 4
_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_BUFFER, _LENGTH = 1 << 21, 512


class Frame(NamedTuple):
    """A frame at an interface, without its link-layer header. `kind`: its EtherType; `way`: OUTGOING, OTHERHOST, …."""

    at: float
    host: str
    dev: str
    kind: int
    way: int
    data: bytes


def tap(spaces: Namespaces, ns: str) -> socket.socket:
    """A packet socket for all interfaces of a namespace, with time stamps."""
    spaces.enter(ns)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return sock


def frames(name: str, sock: socket.socket) -> Iterator[Frame]:
    """The IPv4 and ARP frames that wait in a tap of the host `name`."""
    with suppress(BlockingIOError):
        while True:
            data, extras, _, (dev, kind, way, *_) = sock.recvmsg(_LENGTH, socket.CMSG_SPACE(16))
            seconds, nanoseconds = struct.unpack("qq", extras[0][2])
            if kind in (ETH_P_IP, ETH_P_ARP):
                yield Frame(seconds + nanoseconds / 1e9, name, dev, kind, way, data)
