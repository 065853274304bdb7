"""Our standard input as a command's: what the command does not read stays there for the next reader.

A command that inherits a stream leaves it untouched if it does not read, and shells rely on it: in `while read pod; do
nslab exec …; done` the names are for `read`. So a pipe is copied, one page at a time, and a page is removed only when
the command has read it; a command that keeps reading gets the rest by splice(2). A file's offset is moved back by what
was not read. Input from a terminal, or another device, cannot be put back.
"""

from __future__ import annotations

import os
import select
import socket
import stat

from nslab.linux.processes.streams import BLOCK, Input, queued, reader, resize
from nslab.syscall import SPLICE_F_NONBLOCK, tee

PAGE = 1 << 12
EXACT = 16 * PAGE
"""Bytes after which a command counts as one that reads all its input."""


def stdin(source: int, target: int) -> Input:
    """The flow from one of our streams to our end of a command's pipe; empty for a terminal, which `exec` handles."""
    kind = os.fstat(source).st_mode
    if os.isatty(source):
        return Input(target, -1, bytes)
    if stat.S_ISREG(kind) or stat.S_ISBLK(kind):
        return _File(source, target)
    if stat.S_ISFIFO(kind):
        return _Pipe(source, target)
    if stat.S_ISSOCK(kind):
        return _Socket(source, target)
    return Input(target, source, reader(source))


class _File(Input):
    """A file: read ahead, and its offset moved back at the end."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(target, source, reader(source))
        resize(target, BLOCK)
        self._file, self._unread = source, -1
        self._start = os.lseek(source, 0, os.SEEK_CUR)

    def close(self) -> None:
        if self._target >= 0:
            # Closing the pipe gives the command EOF; its read end then shows us what is unread.
            self._unread = os.open(f"/proc/self/fd/{self._target}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        super().close()

    def finish(self) -> None:
        self.close()
        if self._unread >= 0:
            # The command itself may have written into the pipe: that is not part of the file.
            ours = os.lseek(self._file, 0, os.SEEK_CUR) - self._start
            left = min(queued(self._unread) + len(self._rest), ours)
            os.close(self._unread)
            self._unread = -1
            if left > 0:
                os.lseek(self._file, -left, os.SEEK_CUR)


class _Peeked(Input):
    """A stream that is copied page by page; a page is removed when the command has read it."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(target, source, reader(source))
        self._exact, self._given = EXACT, 0
        resize(target, PAGE)  # a pipe of one page is writable again only when the command has read everything

    def waits_for(self) -> tuple[int, int] | None:
        if self._given and self._target >= 0:
            return self._target, select.POLLOUT
        return super().waits_for()

    def move(self) -> None:
        if self._exact <= 0:
            self._go_on()
        elif self._given:
            self._settle()
        else:
            self._give()

    def _go_on(self) -> None:
        super().move()

    def _give(self) -> None:
        try:
            page = self._peek()
            if page:
                self._given = os.write(self._target, page)
            else:
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _settle(self) -> None:
        left = min(queued(self._target), self._given)
        self._skip(self._given - left)
        self._exact -= self._given
        self._given = 0
        if left:
            self.close()  # a pipe with data in it is writable only if it has no reader
        elif self._exact <= 0:
            resize(self._target, BLOCK)

    def close(self) -> None:
        if self._given and self._target >= 0:
            given, self._given = self._given, 0
            self._skip(given - min(queued(self._target), given))
        super().close()

    def _peek(self) -> bytes:
        raise NotImplementedError

    def _skip(self, count: int) -> None:
        while count:
            count -= len(os.read(self._source, count))


class _Pipe(_Peeked):
    def __init__(self, source: int, target: int) -> None:
        super().__init__(source, target)
        self._copy: tuple[int, ...] = os.pipe()
        self._full = False

    def waits_for(self) -> tuple[int, int] | None:
        return (self._target, select.POLLOUT) if self._full and self._target >= 0 else super().waits_for()

    def _go_on(self) -> None:
        try:
            if not os.splice(self._source, self._target, BLOCK, flags=SPLICE_F_NONBLOCK):
                self.close()
            self._full = False
        except BlockingIOError:
            self._full = not self._full
        except OSError:
            self.close()

    def _peek(self) -> bytes:
        # Copy the bytes, not the pages from tee(2): those may belong to a file.
        reading, writing = self._copy
        return os.read(reading, PAGE) if tee(self._source, writing, PAGE) else b""

    def close(self) -> None:
        super().close()
        for end in self._copy:
            os.close(end)
        self._copy = ()


class _Socket(_Peeked):
    def _peek(self) -> bytes:
        with socket.socket(fileno=os.dup(self._source)) as same:
            return same.recv(PAGE, socket.MSG_PEEK | socket.MSG_DONTWAIT)
