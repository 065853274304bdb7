"""Packet sockets for all interfaces of a namespace."""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.linux.netns import Namespaces

ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806
OTHERHOST, OUTGOING = 3, 4
_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_BUFFER, _LENGTH = 1 << 21, 512
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class _Stamping:
    """The socket that asks for stamps, once there is one; whether the kernel heeds it."""

    sock: socket.socket | None = None
    ready = False


_stamping = _Stamping()


class Frame(NamedTuple):
    """A frame at an interface, without its link-layer header. `at`: nanoseconds since 1970; `kind`: its EtherType.

    `way`: OUTGOING, OTHERHOST, ….
    """

    at: int
    host: str
    dev: str
    kind: int
    way: int
    data: bytes


def ask_for_stamps(spaces: Namespaces) -> None:
    """Have the kernel stamp all packets for as long as this process runs; it begins some milliseconds later."""
    if not _stamping.sock:
        spaces.home()
        _stamping.sock = _stamped()


def _wait_for_stamps(spaces: Namespaces) -> None:
    """Until packets of a namespace without a name are stamped when they come.

    Before that they have the time at which they are read, which says nothing about their order.
    """
    ask_for_stamps(spaces)
    if _stamping.ready:
        return
    with spaces.throwaway(), _stamped() as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH", b"lo", _IFF_UP))
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(1)
        read = stamped = 0
        while stamped >= read:
            sock.sendto(b"", sock.getsockname())
            read = time.time_ns()
            stamped = _stamp(sock.recvmsg(1, socket.CMSG_SPACE(16))[1][0][2])
    _stamping.ready = True


def _stamped() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return sock


def _stamp(data: bytes) -> int:
    """Nanoseconds since 1970."""
    seconds, nanoseconds = struct.unpack("qq", data)
    return int(seconds) * 10**9 + int(nanoseconds)


def tap(spaces: Namespaces, ns: str) -> socket.socket:
    """A packet socket for all interfaces of a namespace, with time stamps."""
    _wait_for_stamps(spaces)
    spaces.enter(ns)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return sock


@contextmanager
def taps_in(spaces: Namespaces, namespaces: Iterable[str]) -> Iterator[dict[str, socket.socket]]:
    """A tap in each namespace, by its name."""
    opened: dict[str, socket.socket] = {}
    try:
        for ns in namespaces:
            opened[ns] = tap(spaces, ns)
        yield opened
    finally:
        close_all(opened.values())


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close sockets side by side, and wait until they are."""
    for thread in begin_to_close(sockets):
        thread.join()


def begin_to_close(sockets: Iterable[socket.socket]) -> list[threading.Thread]:
    """Close sockets side by side: for each, the kernel waits until all processors have forgotten it (10 to 20 ms)."""
    closing = [threading.Thread(target=sock.close) for sock in sockets]
    for thread in closing:
        thread.start()
    return closing


def in_order(taps: Mapping[str, socket.socket]) -> list[Frame]:
    """The frames that wait in the taps of hosts, in order of time; where that is equal, in the host's own order."""
    # A packet that is sent again while the taps are read would be seen by the last of them only.
    until = time.time_ns()
    found = (frame for name, sock in taps.items() for frame in frames(name, sock))
    return sorted((frame for frame in found if frame.at <= until), key=lambda frame: frame.at)


def drain(sock: socket.socket) -> None:
    """Forget the frames that wait in a tap."""
    with suppress(BlockingIOError):
        while True:
            sock.recv(1)


def frames(name: str, sock: socket.socket) -> Iterator[Frame]:
    """The IPv4 and ARP frames that wait in a tap of the host `name`."""
    with suppress(BlockingIOError):
        while True:
            data, extras, _, (dev, kind, way, *_) = sock.recvmsg(_LENGTH, socket.CMSG_SPACE(16))
            if kind in (ETH_P_IP, ETH_P_ARP):
                yield Frame(_stamp(extras[0][2]), name, dev, kind, way, data)
