"""What the kernel tells of namespaces as it happens: netlink's multicast groups (rtnetlink(7), nfnetlink)."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from nslab.linux.taps import close_all
from nslab.wire.netlink import messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from nslab.linux.netns import Namespaces

NETLINK_ROUTE = 0
LINKS, NEIGHBOURS, ADDRESSES, ROUTES, ROUTING_RULES = 1, 3, 5, 7, 8
"""Groups of NETLINK_ROUTE; the last three are IPv4's."""
CONNTRACK_NEW, CONNTRACK_DESTROY, NFTABLES = 1, 3, 7
"""Groups of NETLINK_NETFILTER."""
_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33
_BUFFER = 8 << 20
_LONGEST = 1 << 17


class Notification(NamedTuple):
    """A message of a group. `at`: nanoseconds since 1970, when it was read; `kind`: its type."""

    at: int
    ns: str
    protocol: int
    kind: int
    body: bytes


class NetlinkListener:
    """Sockets of some namespaces that hear groups (by protocol), until it is closed. `stopped`: see `wait`."""

    def __init__(self, spaces: Namespaces, groups: Mapping[int, Sequence[int]], stopped: int) -> None:
        self.overruns = 0
        self._spaces, self._groups, self._stopped = spaces, groups, stopped
        self._sockets: dict[int, tuple[str, int, socket.socket]] = {}
        self._poll = select.poll()
        self._poll.register(stopped, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close_all([sock for _, _, sock in self._sockets.values()])

    def add(self, ns: str) -> None:
        """Hear a namespace from now on. OSError (ENOENT) if it is gone."""
        self._spaces.enter(ns)
        try:
            for protocol, groups in self._groups.items():
                sock = opened(protocol, groups)
                self._sockets[sock.fileno()] = ns, protocol, sock
                self._poll.register(sock, select.POLLIN)
        finally:
            self._spaces.home()

    def remove(self, ns: str) -> None:
        """Hear a namespace no more: its sockets would keep it alive."""
        for number, (known, _, sock) in [*self._sockets.items()]:
            if known == ns:
                self._poll.unregister(sock)
                del self._sockets[number]
                sock.close()

    def wake_for(self, descriptor: int) -> None:
        """End a `wait`, without a message, when a descriptor is readable, too. Its owner reads it."""
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, milliseconds: float) -> list[Notification] | None:
        """What came within a time, as soon as something comes; None once `stopped` is readable."""
        found = [number for number, _ in self._poll.poll(max(0.0, milliseconds))]
        if self._stopped in found:
            return None
        return [one for number in found if number in self._sockets for one in self._read(*self._sockets[number])]

    def pause(self, milliseconds: float) -> None:
        """Let a time pass in which messages gather; less, once `stopped` is readable."""
        select.select([self._stopped], [], [], max(0.0, milliseconds) / 1000)

    def _read(self, ns: str, protocol: int, sock: socket.socket) -> Iterator[Notification]:
        while True:
            try:
                data = sock.recv(_LONGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1  # the kernel had more to tell than the buffer takes; the next messages are whole
                continue
            at = time.time_ns()
            yield from (Notification(at, ns, protocol, kind, body) for kind, _, body in messages(data))


def opened(protocol: int, groups: Sequence[int]) -> socket.socket:
    """A socket of this thread's namespace that hears groups of a protocol."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError:
        sock.close()
        raise
    return sock
