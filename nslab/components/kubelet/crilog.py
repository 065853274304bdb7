"""Write containers' output to log files in CRI format, as a node's container runtime does.

A line of more than 16 KiB becomes several partial lines.
"""

from __future__ import annotations

import contextlib
import os
import time

from nslab.runtime.folders import make_tree
from nslab.wire import cri

LONGEST = 16 * 1024
ROTATE_AT = 10 * 1024 * 1024
"""kubelet's containerLogMaxSize. A container has two files: the current one and the rotated one."""
CROWDED_AT = 256 * 1024
"""The limit instead when logs have used up their share of the lab's file system, which is in memory."""
SHARE, MEMORY_SHARE = 4, 16
"""1/SHARE of the file system is reserved for others, and it may take at most 1/MEMORY_SHARE of the memory."""
TAIL = 2048
_BLOCK = LONGEST
_PIPE = 1 << 20
"""The largest capacity of a pipe."""


def attempts(folder: str) -> dict[str, int]:
    """The number of earlier runs of each container (POD/NAME), from its logs, as the kubelet counts restarts anew."""
    found = {}
    for pod in os.listdir(folder):
        for container in os.listdir(f"{folder}/{pod}"):
            names = (name.removesuffix(".log") for name in os.listdir(f"{folder}/{pod}/{container}"))
            found[f"{pod}/{container}"] = max((int(name) + 1 for name in names if name.isdigit()), default=0)
    return found


def log_file(folder: str, attempt: int) -> LogFile:
    """Open the log of run number `attempt`. The log of the run before stays, too, while there is room."""
    before = f"{folder}/{attempt - 1}.log"
    if attempt:
        _remove(f"{folder}/{attempt - 2}.log", f"{folder}/{attempt - 2}.log.1", f"{before}.1")
    return LogFile(f"{folder}/{attempt}.log", before)


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


class LogFile:
    """The log of one run of a container, shared by its two streams. A rotation removes the log of the run before."""

    def __init__(self, path: str, before: str = "") -> None:
        self.path, self._before = path, before
        self.tail = b""
        self._second, self._date = 0, b""
        make_tree(path.rpartition("/")[0])
        self._fd = _opened(path)
        self._size = self._looked = os.fstat(self._fd).st_size
        self._limit = ROTATE_AT

    def write(self, stream: bytes, lines: list[tuple[bytes, bytes]]) -> None:
        """Append blocks of text, each with its tag: F for one or more full lines, or P for a partial line."""
        now = self._now()
        block = b"".join([_tagged(cri.prefix(now, stream, tag), line) for tag, line in lines])
        self.tail = (self.tail + b"".join([line + b"\n" if tag == cri.FULL else line for tag, line in lines]))[-TAIL:]
        # A full file system costs log lines, never the node.
        with contextlib.suppress(OSError):
            if self._size + len(block) > self._room():
                self._rotate()
            self._size += os.write(self._fd, block)

    def _room(self) -> int:
        """The size at which to rotate."""
        if self._size - self._looked >= CROWDED_AT:
            self._looked = self._size
            self._limit = CROWDED_AT if _is_crowded(self._fd) else ROTATE_AT
        return self._limit

    def _rotate(self) -> None:
        _remove(self._before)
        os.rename(self.path, f"{self.path}.1")
        old, self._fd = self._fd, _opened(self.path)
        os.close(old)
        self._size = self._looked = 0

    def _now(self) -> bytes:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if seconds != self._second:
            self._second = seconds
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()
        return b"%s.%09dZ" % (self._date, nanoseconds)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _tagged(head: bytes, lines: bytes) -> bytes:
    return head + lines.replace(b"\n", b"\n" + head) + b"\n"


def _is_crowded(fd: int) -> bool:
    """Whether logs have used up their share of the file system."""
    status = os.fstatvfs(fd)
    taken = (status.f_blocks - status.f_bfree) * status.f_frsize
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return taken > min(status.f_blocks * status.f_frsize * (SHARE - 1) // SHARE, memory // MEMORY_SHARE)


class Stream:
    """The read end of a container's stdout or stderr. `full`: the last read did not empty the pipe."""

    def __init__(self, fd: int, name: bytes, log: LogFile) -> None:
        self.fd, self._name, self._log, self._rest = fd, name, log, b""
        self.full = False

    def read(self) -> bool:
        """Log one block; return false at EOF, when the last writer has closed the pipe."""
        try:
            block = os.read(self.fd, _BLOCK)
        except BlockingIOError:
            self.full = False
            return True
        self.full = len(block) == _BLOCK
        if not block:
            self._end()
            return False
        self._take(block)
        return True

    def drain(self) -> None:
        """Log everything in the pipe, but not what a fast writer adds without end."""
        for _ in range(_PIPE // _BLOCK):
            if not (self.read() and self.full):
                return

    def _take(self, block: bytes) -> None:
        whole, end, self._rest = (self._rest + block).rpartition(b"\n")
        lines: list[tuple[bytes, bytes]] = []
        if end:
            # Only the first line can exceed LONGEST: it began before this block, which is not longer.
            first, more, others = whole.partition(b"\n")
            lines += [*_pieces(first), (cri.FULL, first[len(_cuts(first)) * LONGEST :])]
            lines += [(cri.FULL, others)] if more else []
        lines += _pieces(self._rest)
        self._rest = self._rest[len(_cuts(self._rest)) * LONGEST :]
        if lines:
            self._log.write(self._name, lines)

    def _end(self) -> None:
        if self._rest:
            self._log.write(self._name, [(cri.FULL, self._rest)])
            self._rest = b""


def _pieces(line: bytes) -> list[tuple[bytes, bytes]]:
    return [(cri.PARTIAL, line[at : at + LONGEST]) for at in _cuts(line)]


def _cuts(line: bytes) -> range:
    """The offsets of the partial lines of a long line, without its last part, which is never empty."""
    return range(0, max(0, len(line) - LONGEST), LONGEST)
