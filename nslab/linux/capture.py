"""Captures packets at interfaces of a lab, each with a packet socket of its own, with times in nanoseconds."""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import struct
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass
from nslab.errors import Refused, UsageError
from nslab.linux.netlink import batch
from nslab.linux.netns import inode
from nslab.linux.rules import restore
from nslab.linux.signals import stop_descriptor
from nslab.linux.taps import close_all
from nslab.objects.names import host, netns
from nslab.wire import pcapng

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from nslab.linux.netns import Namespaces

_ETH_P_ALL, _OUTGOING = 3, 4
_SOL_PACKET, _STATISTICS = 263, 6
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_ETHERNET_DEVICES = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK
_BUFFER = 64 << 20
_LONGEST = 1 << 18
_LATE = 20_000_000
"""Nanoseconds for which a packet waits for earlier ones of other sockets."""
_LOOK = 1000.0
"""Milliseconds between two looks whether the lab is still there."""


@dataclass(frozen=True, slots=True)
class CapturedInterface:
    """An interface at which packets are captured. `link_type`: see nslab.wire.pcapng."""

    host: str
    dev: str
    link_type: int

    @property
    def name(self) -> str:
        """As it is named in the file."""
        return f"{self.host}:{self.dev}"


class CapturedPacket(NamedTuple):
    """A packet. `at`: nanoseconds since 1970; `number`: the interface's; `data` may be shorter than `length`."""

    at: int
    number: int
    data: bytes
    length: int
    outgoing: bool


class InterfaceCapture:
    """Packet sockets of some interfaces, from `open` on until it is closed.

    Meanwhile SIGINT and SIGTERM end it; a second one ends nslab, also while nobody reads what it writes.
    """

    def __init__(self, interfaces: Sequence[CapturedInterface]) -> None:
        self.interfaces = interfaces
        self._sockets: list[socket.socket] = []
        self._space = bytearray(_LONGEST)
        self._opened = ExitStack()
        self._stopped = -1
        self._namespaces: dict[str, int] = {}

    def open(self, spaces: Namespaces, lab: str, expression: str = "") -> None:
        """Begin. `expression`: what to capture, as tcpdump has it; UsageError if it is wrong."""
        kinds = {one.link_type for one in self.interfaces}
        programs = {kind: _compiled(expression, kind) for kind in kinds} if expression else {}
        found = []
        try:
            for one in self.interfaces:
                with _unless_gone():
                    spaces.enter(ns := netns(lab, one.host))
                    self._sockets.append(_socket(one, programs.get(one.link_type)))
                    self._namespaces[ns] = inode(ns)
                    found.append(one)
        finally:
            self.interfaces = found
            spaces.home()

    def __enter__(self) -> Self:
        self._stopped = self._opened.enter_context(stop_descriptor())
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        close_all(self._sockets)

    def batches(self, seconds: float | None = None, look: float = _LOOK) -> Iterator[list[CapturedPacket]]:
        """The packets in order of time, until the time is over, SIGINT or SIGTERM comes, or the lab is down.

        A batch comes at the latest after `look` milliseconds, if need be an empty one.
        """
        poll = select.poll()
        by_descriptor = {sock.fileno(): number for number, sock in enumerate(self._sockets)}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        waiting: list[CapturedPacket] = []
        end = None if seconds is None else time.monotonic() + seconds
        poll.register(self._stopped, select.POLLIN)
        while (end is None or time.monotonic() < end) and self._is_there():
            found = [descriptor for descriptor, _ in poll.poll(_patience(end, waiting, look))]
            if self._stopped in found:
                break
            for descriptor in found:
                waiting += self._read(by_descriptor[descriptor])
            waiting, due = _due(waiting)
            yield due
        for number in range(len(self._sockets)):
            waiting += self._read(number)
        yield sorted(waiting)

    def statistics(self) -> Iterator[tuple[int, int, int]]:
        """By number: how many packets an interface passed, and how many of those nobody read in time."""
        for number, sock in enumerate(self._sockets):
            received, lost = struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _STATISTICS, 8))
            yield number, received, lost

    def _is_there(self) -> bool:
        """Whether a namespace still has its name: our sockets keep the namespaces of a lab that is down."""
        return any(inode(ns) == known for ns, known in self._namespaces.items())

    def _read(self, number: int) -> Iterator[CapturedPacket]:
        with suppress(BlockingIOError):
            while True:
                with _unless_gone():
                    yield from self._received(number)

    def _received(self, number: int) -> Iterator[CapturedPacket]:
        sock, space = self._sockets[number], self._space
        while True:
            size, extras, _, address = sock.recvmsg_into([space], socket.CMSG_SPACE(16), socket.MSG_TRUNC)
            seconds, nanoseconds = struct.unpack("qq", extras[0][2])
            at = seconds * 1_000_000_000 + nanoseconds
            yield CapturedPacket(at, number, bytes(space[: min(size, _LONGEST)]), size, address[2] == _OUTGOING)


def interfaces(spaces: Namespaces, namespaces: Sequence[str]) -> list[CapturedInterface]:
    """All interfaces of some namespaces of a lab, but those that are down."""
    found = []
    for ns in namespaces:
        with _unless_gone():
            for name, kind in batch.link_kinds(spaces.route_socket(ns)).items():
                link_type = pcapng.ETHERNET if kind in _ETHERNET_DEVICES else pcapng.RAW
                found.append(CapturedInterface(host(ns), name, link_type))
    spaces.home()
    return found


def _socket(one: CapturedInterface, program: bytes | None) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    with ExitStack() as opened:
        opened.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if program:
            code = ctypes.create_string_buffer(program, len(program))
            sock.setsockopt(
                socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program) // 8, ctypes.addressof(code))
            )
        sock.bind((one.dev, _ETH_P_ALL))
        opened.pop_all()
    return sock


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Go on if an interface or a namespace is gone. A socket says so once, keeps its packets, and works again later."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENETDOWN, errno.ENODEV, errno.ENOENT):
            raise


def _compiled(expression: str, link_type: int) -> bytes:
    """A filter of tcpdump as the kernel runs it (classic BPF)."""
    kind = "EN10MB" if link_type == pcapng.ETHERNET else "RAW"
    try:
        text = restore.listed("tcpdump", "-y", kind, "-ddd", "--", expression)
    except Refused as error:
        raise UsageError(f"tcpdump does not know the filter {expression!r}: {error.reason}") from None
    lines = [tuple(map(int, line.split())) for line in text.splitlines()[1:]]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _patience(end: float | None, waiting: Sequence[CapturedPacket], look: float) -> float:
    left = look if end is None else min(look, max(0.0, end - time.monotonic()) * 1000)
    return min(_LATE / 1e6, left) if waiting else left


def _due(waiting: list[CapturedPacket]) -> tuple[list[CapturedPacket], list[CapturedPacket]]:
    """Those that may still have to wait for earlier ones, and the others in their order."""
    latest = time.time_ns() - _LATE
    return [one for one in waiting if one.at > latest], sorted(one for one in waiting if one.at <= latest)
