"""Captures packets at interfaces of a lab, each with a packet socket of its own, with times in nanoseconds."""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from nslab.errors import Refused, UsageError
from nslab.linux.captured_links import LinkWatch, interfaces, unless_gone
from nslab.linux.rules import restore
from nslab.linux.signals import stop_descriptor
from nslab.linux.taps import close_all
from nslab.objects.names import netns
from nslab.wire import pcapng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from nslab.linux.captured_links import CapturedInterface
    from nslab.linux.netns import Namespaces

_ETH_P_ALL, _OUTGOING = 3, 4
_SOL_PACKET, _STATISTICS = 263, 6
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_BUFFER = 64 << 20
_LONGEST = 1 << 18
_LATE = 20_000_000
"""Nanoseconds for which a packet waits for earlier ones of other sockets."""
_LOOK = 1000.0
"""Milliseconds between two looks whether the lab is still there."""


class CapturedPacket(NamedTuple):
    """A packet. `at`: nanoseconds since 1970; `number`: the interface's; `data` may be shorter than `length`."""

    at: int
    number: int
    data: bytes
    length: int
    outgoing: bool


class InterfaceCapture:
    """Packet sockets of a lab's interfaces, also of those that come later, until it is closed.

    Meanwhile SIGINT and SIGTERM end it; a second one ends nslab, also while nobody reads what it writes.
    `wanted`: at which interfaces; `expression`: what to capture, as tcpdump has it; UsageError if it is wrong.
    """

    def __init__(
        self, spaces: Namespaces, lab: str, wanted: Callable[[CapturedInterface], bool], expression: str = ""
    ) -> None:
        self.interfaces: list[CapturedInterface] = []
        self._spaces, self._lab, self._wanted = spaces, lab, wanted
        self._program = cache(partial(_compiled, expression))
        self._sockets: list[socket.socket] = []
        self._numbers: dict[int, int] = {}
        self._poll = select.poll()
        self._space = bytearray(_LONGEST)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.callback(lambda: close_all(self._sockets))
            self._links = opened.enter_context(
                LinkWatch(self._spaces, self._lab, opened.enter_context(stop_descriptor()))
            )
            self._begin(self._links.join())
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _begin(self, namespaces: Iterable[str]) -> None:
        """Capture at the interfaces of some namespaces, too."""
        # The socket of an interface that is gone has no name, and another one may have the same number.
        every = zip(self.interfaces, self._sockets, strict=True)
        known = {(one.namespace, one.index) for one, sock in every if sock.getsockname()[0]}
        for one in interfaces(self._spaces, namespaces):
            if (one.namespace, one.index) not in known and self._wanted(one):
                with unless_gone():
                    self._spaces.enter(netns(self._lab, one.host))
                    sock = _socket(one, self._program(one.link_type))
                    self._numbers[sock.fileno()] = len(self._sockets)
                    self._sockets.append(sock)
                    self.interfaces.append(one)
                    self._poll.register(sock, select.POLLIN)
                    self._links.wake_for(sock.fileno())
        self._spaces.home()

    def batches(self, seconds: float | None = None, look: float = _LOOK) -> Iterator[list[CapturedPacket]]:
        """The packets in order of time, until the time is over, SIGINT or SIGTERM comes, or the lab is down.

        A batch comes at the latest after `look` milliseconds, if need be an empty one.
        """
        waiting: list[CapturedPacket] = []
        end = None if seconds is None else time.monotonic() + seconds
        while (end is None or time.monotonic() < end) and self._links.is_there:
            changed = self._links.wait(_patience(end, waiting, look))
            if changed is None:
                break
            if changed:
                self._begin(changed)
            for descriptor, _ in self._poll.poll(0):
                waiting += self._read(self._numbers[descriptor])
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

    def _read(self, number: int) -> Iterator[CapturedPacket]:
        with suppress(BlockingIOError):
            while True:
                with unless_gone():
                    yield from self._received(number)

    def _received(self, number: int) -> Iterator[CapturedPacket]:
        sock, space = self._sockets[number], self._space
        while True:
            size, extras, _, address = sock.recvmsg_into([space], socket.CMSG_SPACE(16), socket.MSG_TRUNC)
            seconds, nanoseconds = struct.unpack("qq", extras[0][2])
            at = seconds * 1_000_000_000 + nanoseconds
            yield CapturedPacket(at, number, bytes(space[: min(size, _LONGEST)]), size, address[2] == _OUTGOING)


def _socket(one: CapturedInterface, program: bytes) -> socket.socket:
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


def _compiled(expression: str, link_type: int) -> bytes:
    """A filter of tcpdump as the kernel runs it (classic BPF); nothing without one."""
    if not expression:
        return b""
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
