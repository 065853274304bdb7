"""Copy bytes between a command inside a lab and its caller's streams: flows, and the loop that moves them.

A flow never reads what it cannot write, so a slow reader slows down its writer, and nothing accumulates here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import termios
import time
from typing import TYPE_CHECKING, Protocol

from nslab.syscall import SPLICE_F_NONBLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCK = 1 << 18
"""Bytes to move at a time between pipes, and the size to which pipes are set."""
PAGES = 1 << 16
"""Bytes to read at a time."""
_ENDED = select.POLLERR | select.POLLHUP | select.POLLNVAL
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)
"""The errors of a pipe, a socket and a terminal whose other end is closed."""


class Waits(Protocol):
    """Something that waits for events of a descriptor."""

    def waits_for(self) -> tuple[int, int] | None:
        """The descriptor and the poll events that it waits for; None when it has ended."""

    def move(self) -> None:
        """Handle one of these events."""


class Relay(Waits, Protocol):
    """Bytes in one direction."""

    def finish(self) -> None:
        """The command has ended: move what is already there, then end."""

    def close(self) -> None:
        """Close the command's stream, whatever is in it."""


class Output:
    """The command's output, from our end of its pipe or terminal to a descriptor of our own."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        os.set_blocking(source, False)
        self._splices = is_pipe(source)
        if self._splices:
            resize(source, BLOCK)
        self._full, self._rest = False, b""
        self._left = -1  # bytes to move before the end, once that is known

    def waits_for(self) -> tuple[int, int] | None:
        if self._source < 0:
            return None
        return (self._target, select.POLLOUT) if self._full else (self._source, select.POLLIN)

    def move(self) -> None:
        # Other processes share our own streams, so those may block: check them first.
        if not (self._full or is_ready(self._target, select.POLLOUT)):
            self._full = True
            return
        try:
            self._move()
        except BlockingIOError:
            self._full = bool(self._rest) or not self._full
        except OSError as error:
            if error.errno not in _GONE:
                raise
            # As if the command itself wrote there: its next write fails.
            self.close()
        self._end()

    def _move(self) -> None:
        most = BLOCK if self._left < 0 else min(self._left, BLOCK)
        if self._splices and not self._rest:
            self._splice(most)
        else:
            if not self._rest:
                self._rest = os.read(self._source, min(most, PAGES))
                self._take(len(self._rest))
            if self._rest:
                self._rest = self._rest[os.write(self._target, self._rest) :]
            self._full = bool(self._rest)

    def _splice(self, most: int) -> None:
        try:
            count = os.splice(self._source, self._target, most, flags=SPLICE_F_NONBLOCK)
        except OSError as error:
            # splice(2) refuses a file opened with O_APPEND, and some other kinds.
            if error.errno != errno.EINVAL:
                raise
            self._splices = False
        else:
            self._take(count)
            self._full = False

    def _take(self, count: int) -> None:
        if not count:
            self.close()
        elif self._left > 0:
            self._left = max(0, self._left - count)

    def finish(self) -> None:
        # A process that the command left behind may write on: move only as much as the command may have left.
        if self._source >= 0:
            self._left = queued(self._source) if is_pipe(self._source) else BLOCK
            self._end()

    def _end(self) -> None:
        last = self._source >= 0 and self._left >= 0 and not self._rest
        if last and not (self._left and is_ready(self._source, select.POLLIN)):
            self.close()

    def close(self) -> None:
        if self._source >= 0:
            os.close(self._source)
        self._source = -1


class Collected(Output):
    """The command's output on a pipe, collected in `data`."""

    def __init__(self, source: int) -> None:
        super().__init__(source, -1)
        self.data = bytearray()

    def move(self) -> None:
        with contextlib.suppress(BlockingIOError):
            block = os.read(self._source, BLOCK)
            self.data += block
            self._take(len(block))
        self._end()


class Input:
    """The command's input, written to our end of its pipe or terminal.

    `more` returns the next block when `source` is readable, or at once if that is -1; an empty block is the end.
    """

    def __init__(self, target: int, source: int, more: Callable[[], bytes | memoryview]) -> None:
        self._target, self._source, self._more = target, source, more
        os.set_blocking(target, False)
        self._rest = memoryview(b"")

    def waits_for(self) -> tuple[int, int] | None:
        if self._target < 0:
            return None
        return (self._target, select.POLLOUT) if self._rest or self._source < 0 else (self._source, select.POLLIN)

    def move(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                self._rest = self._rest or memoryview(self._more())
                if self._rest:
                    self._rest = self._rest[os.write(self._target, self._rest) :]
                else:
                    self.close()
            except BlockingIOError:
                raise
            except OSError:
                self.close()  # the reader has gone, or the source has failed

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        if self._target >= 0:
            os.close(self._target)
        self._target = -1


def relay(end: Waits, flows: Sequence[Relay], going: Callable[[], bool], deadline: float | None = None) -> None:
    """Move all flows while the command runs (`going`), and then what is left. `end` waits for the command's end.

    TimeoutError at the deadline (monotonic time).
    """
    while going():
        _turn((end, *flows), deadline)
    for flow in flows:
        flow.finish()
    while any(flow.waits_for() for flow in flows):
        _turn(flows, deadline)


def _turn(flows: Sequence[Waits], deadline: float | None) -> None:
    waiting = [(flow, event) for flow in flows if (event := flow.waits_for())]
    happened = _poll([event for _, event in waiting], deadline)
    for flow, (descriptor, events) in waiting:
        # An earlier flow of this round may have closed the descriptor.
        if happened.get(descriptor, 0) & (events | _ENDED) and flow.waits_for() == (descriptor, events):
            flow.move()


def _poll(interests: Sequence[tuple[int, int]], deadline: float | None) -> dict[int, int]:
    wanted: dict[int, int] = {}
    for descriptor, events in interests:
        wanted[descriptor] = wanted.get(descriptor, 0) | events
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    happened = poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
    if not happened:
        raise TimeoutError
    return dict(happened)


def reader(source: int) -> Callable[[], memoryview]:
    """A function that reads the next block of a descriptor, each time into the same buffer."""
    buffer = memoryview(bytearray(BLOCK))
    return lambda: buffer[: os.readv(source, [buffer])]


def is_ready(descriptor: int, events: int) -> bool:
    """Whether one of these events, or an error or hangup, is pending."""
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(0))


def is_pipe(descriptor: int) -> bool:
    """Whether a descriptor is a pipe."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def resize(descriptor: int, size: int) -> None:
    """Set the capacity of a pipe in bytes, if the kernel allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, size)


def queued(descriptor: int) -> int:
    """The number of unread bytes in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0])
