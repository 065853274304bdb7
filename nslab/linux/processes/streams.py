"""Bytes between a command inside a lab and the streams of who called it: flows, and the loop that moves them.

A flow never reads what it cannot write, so who is slow slows down whom it listens to, and nothing piles up here.
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
"""Bytes that are moved at a time between pipes, and that a pipe is made to hold."""
PAGES = 1 << 16
"""Bytes that are read at a time."""
_ENDED = select.POLLERR | select.POLLHUP | select.POLLNVAL
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)
"""What a pipe, a socket and a terminal say when nobody is at the other end."""


class Waits(Protocol):
    """Who goes on when something happens to a descriptor."""

    def waits_for(self) -> tuple[int, int] | None:
        """The descriptor and the poll events that it can go on with; None when it has come to its end."""

    def move(self) -> None:
        """Go on: one of these events is there."""


class Flow(Waits, Protocol):
    """One direction."""

    def finish(self) -> None:
        """The command has ended: come to an end, with what is there already."""

    def close(self) -> None:
        """Let go of the command's stream, whatever is in it."""


class Output:
    """What the command writes, on its way from our end of its pipe or terminal to a descriptor of our own."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        os.set_blocking(source, False)
        self._splices = is_pipe(source)
        if self._splices:
            resize(source, BLOCK)
        self._full, self._rest = False, b""
        self._left = -1  # bytes to be moved before the end, once that is known

    def waits_for(self) -> tuple[int, int] | None:
        if self._source < 0:
            return None
        return (self._target, select.POLLOUT) if self._full else (self._source, select.POLLIN)

    def move(self) -> None:
        # Our own streams are shared with others, so they may block: they are asked first.
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
            # As if the command itself wrote there: it is told so at its next word.
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
            # A file that is appended to, or another kind that cannot be spliced to.
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
        # What goes on writing behind the command must not hold us: as much as it may have left, no more.
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
    """What the command writes into a pipe, kept."""

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
    """Bytes for the command to read, on their way into our end of its pipe or terminal.

    `more` gives them when `source` is readable, or at once if that is -1; an empty block is the end.
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
                self.close()  # nobody reads it any more, or there is nothing to be read

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        if self._target >= 0:
            os.close(self._target)
        self._target = -1


def relay(end: Waits, flows: Sequence[Flow], going: Callable[[], bool], deadline: float | None = None) -> None:
    """Move all that flows while the command runs, and then what is left. `end` waits for its end: `going()` tells.

    TimeoutError at the deadline.
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
    """What is there to be read, in a memory that is used again for the next block."""
    buffer = memoryview(bytearray(BLOCK))
    return lambda: buffer[: os.readv(source, [buffer])]


def is_ready(descriptor: int, events: int) -> bool:
    """Whether one of these events is there, or the end."""
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(0))


def is_pipe(descriptor: int) -> bool:
    """Whether it is open on a pipe."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def resize(descriptor: int, size: int) -> None:
    """Let a pipe hold so many bytes, if the kernel allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, size)


def queued(descriptor: int) -> int:
    """How many bytes wait to be read in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0])
