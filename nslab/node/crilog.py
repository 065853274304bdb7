"""Writes what containers print into log files, line by line in CRI's format, as the container runtime of a node does.

2026-11-22T05:34:25.123456789Z stdout F a whole line
2026-11-22T05:34:25.123456790Z stderr P a piece of 16 KiB of a line that goes on
"""

from __future__ import annotations

import contextlib
import os
import time

LONGEST = 16 * 1024
ROTATE_AT = 10 * 1024 * 1024  # kubelet's containerLogMaxSize
TAIL = 2048


def attempts(folder: str) -> dict[str, int]:
    """How many runs each container (POD/NAME) had, by the logs that lie there: as the kubelet counts what it forgot."""
    found = {}
    for pod in os.listdir(folder):
        for container in os.listdir(f"{folder}/{pod}"):
            names = (name.removesuffix(".log") for name in os.listdir(f"{folder}/{pod}/{container}"))
            found[f"{pod}/{container}"] = max((int(name) + 1 for name in names if name.isdigit()), default=0)
    return found


def log_file(folder: str, attempt: int) -> LogFile:
    """The file of one run of a container, so many after its first. The one before is kept, too."""
    if attempt >= 2:
        for old in (f"{folder}/{attempt - 2}.log", f"{folder}/{attempt - 2}.log.1"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)
    return LogFile(f"{folder}/{attempt}.log")


class LogFile:
    """The file of one run of a container; its two streams write into it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.tail = b""
        self._second, self._date = 0, b""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: bytes, lines: list[tuple[bytes, bytes]]) -> None:
        """Append lines, each with its tag: F, or P for a piece."""
        head = b"%s %s " % (self._now(), stream)
        block = b"".join([b"%s%s %s\n" % (head, tag, line) for tag, line in lines])
        self.tail = (self.tail + b"".join([line + b"\n" if tag == b"F" else line for tag, line in lines]))[-TAIL:]
        # A full file system costs log lines, never the node.
        with contextlib.suppress(OSError):
            if self._size + len(block) > ROTATE_AT:
                os.rename(self.path, f"{self.path}.1")
                self.close()
                self._open()
            self._size += os.write(self._fd, block)

    def _now(self) -> bytes:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if seconds != self._second:
            self._second = seconds
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()
        return b"%s.%09dZ" % (self._date, nanoseconds)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Stream:
    """The read end of a container's stdout or stderr."""

    def __init__(self, fd: int, name: bytes, log: LogFile) -> None:
        self.fd, self._name, self._log, self._rest = fd, name, log, b""

    def read(self) -> bool:
        """Log what is there. Whether more can come: false when the last writer is gone."""
        while True:
            try:
                block = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return True
            if not block:
                self._end()
                return False
            self._take(block)

    def _take(self, block: bytes) -> None:
        *whole, self._rest = (self._rest + block).split(b"\n")
        lines: list[tuple[bytes, bytes]] = []
        for line in whole:
            lines += [(b"P", line[at : at + LONGEST]) for at in _cuts(line)]
            lines.append((b"F", line[len(_cuts(line)) * LONGEST :]))
        cuts = _cuts(self._rest)
        lines += [(b"P", self._rest[at : at + LONGEST]) for at in cuts]
        self._rest = self._rest[len(cuts) * LONGEST :]
        if lines:
            self._log.write(self._name, lines)

    def _end(self) -> None:
        if self._rest:
            self._log.write(self._name, [(b"F", self._rest)])
            self._rest = b""


def _cuts(line: bytes) -> range:
    """Where pieces of a long line begin; its last piece, never an empty one, is not among them."""
    return range(0, max(0, len(line) - LONGEST), LONGEST)
