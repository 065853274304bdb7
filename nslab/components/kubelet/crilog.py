"""Writes what containers print into log files, line by line, as the container runtime of a node does.

A line of more than 16 KiB is written in pieces.
"""

from __future__ import annotations

import contextlib
import os
import time

from nslab.wire import cri

LONGEST = 16 * 1024
ROTATE_AT = 10 * 1024 * 1024
"""kubelet's containerLogMaxSize. Of a container two files are kept: what it prints, and what it printed before."""
CROWDED_AT = 256 * 1024
"""The same where logs have taken their share of the lab's file system, which is memory."""
SHARE, MEMORY_SHARE = 4, 16
"""One part in so many of the file system is left to others, and one in so many of the memory is all that it takes."""
TAIL = 2048
_BLOCK = LONGEST
_PIPE = 1 << 20
"""The most that a pipe holds."""


def attempts(folder: str) -> dict[str, int]:
    """How many runs each container (POD/NAME) had, by the logs that lie there: as the kubelet counts what it forgot."""
    found = {}
    for pod in os.listdir(folder):
        for container in os.listdir(f"{folder}/{pod}"):
            names = (name.removesuffix(".log") for name in os.listdir(f"{folder}/{pod}/{container}"))
            found[f"{pod}/{container}"] = max((int(name) + 1 for name in names if name.isdigit()), default=0)
    return found


def log_file(folder: str, attempt: int) -> LogFile:
    """The file of one run of a container, so many after its first. The one before is kept, too, while there is room."""
    before = f"{folder}/{attempt - 1}.log"
    _remove(f"{folder}/{attempt - 2}.log", f"{folder}/{attempt - 2}.log.1", f"{before}.1")
    return LogFile(f"{folder}/{attempt}.log", before)


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


class LogFile:
    """The file of one run of a container; its two streams write into it. When it is rotated, that of `before` goes."""

    def __init__(self, path: str, before: str = "") -> None:
        self.path, self._before = path, before
        self.tail = b""
        self._second, self._date = 0, b""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._fd = _opened(path)
        self._size = self._looked = os.fstat(self._fd).st_size
        self._limit = ROTATE_AT

    def write(self, stream: bytes, lines: list[tuple[bytes, bytes]]) -> None:
        """Append lines, each with its tag: F (then it may be several), or P for a piece."""
        now = self._now()
        block = b"".join([_tagged(cri.prefix(now, stream, tag), line) for tag, line in lines])
        self.tail = (self.tail + b"".join([line + b"\n" if tag == cri.FULL else line for tag, line in lines]))[-TAIL:]
        # A full file system costs log lines, never the node.
        with contextlib.suppress(OSError):
            if self._size + len(block) > self._room():
                self._rotate()
            self._size += os.write(self._fd, block)

    def _room(self) -> int:
        """How large the file may become."""
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
    """Whether the file system has no room but for others than logs."""
    there = os.fstatvfs(fd)
    taken = (there.f_blocks - there.f_bfree) * there.f_frsize
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return taken > min(there.f_blocks * there.f_frsize * (SHARE - 1) // SHARE, memory // MEMORY_SHARE)


class Stream:
    """The read end of a container's stdout or stderr. `full`: more waited than was read, so its writer is held up."""

    def __init__(self, fd: int, name: bytes, log: LogFile) -> None:
        self.fd, self._name, self._log, self._rest = fd, name, log, b""
        self.full = False

    def read(self) -> bool:
        """Log some of what is there. Whether more can come: false when the last writer is gone."""
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
        """Log all that is there; who still writes does not keep us."""
        for _ in range(_PIPE // _BLOCK):
            if not (self.read() and self.full):
                return

    def _take(self, block: bytes) -> None:
        whole, end, self._rest = (self._rest + block).rpartition(b"\n")
        lines: list[tuple[bytes, bytes]] = []
        if end:
            # Only the first line began before this block, which is no longer than a line may be.
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
    """Where pieces of a long line begin; its last piece, never an empty one, is not among them."""
    return range(0, max(0, len(line) - LONGEST), LONGEST)
