"""A person at a terminal: what is typed, what is seen, and what the terminal is like afterwards."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.kernel.labkit import ROOT, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Terminal:
    """A pseudo-terminal with a program on it, which it controls; afterwards the terminal is still there to be asked."""

    def __init__(self, argv: Sequence[str], rows: int = 24, columns: int = 80) -> None:
        self.master, self.slave = os.openpty()
        self.output, self.status = bytearray(), -1
        self.resize(rows, columns)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._become(argv)
            finally:
                os._exit(126)

    def _become(self, argv: Sequence[str]) -> None:
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        for number in range(3):
            os.dup2(self.slave, number)
        os.closerange(3, 1 << 16)
        os.chdir(ROOT)
        os.execvpe(argv[0], list(argv), {**os.environ, "TERM": "vt100", "PS1": "$ "})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self.master, self.slave):
            if end >= 0:
                os.close(end)
        if self.status < 0:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def hang_up(self) -> None:
        """As when the window is closed."""
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = -1

    def type(self, text: bytes) -> None:
        """Press these keys."""
        os.write(self.master, text)

    def look(self) -> bytearray:
        """All that was seen until now."""
        while self.master >= 0 and select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 1 << 16)
        return self.output

    def wait_for(self, text: bytes, seconds: float = 15.0) -> bytearray:
        """Until something is seen; what was seen before it."""
        try:
            until(lambda: text in self.look(), seconds)
        except AssertionError:
            raise AssertionError(f"no {text!r} in {bytes(self.output)!r}") from None
        before, _, self.output = self.output.partition(text)
        return before

    def press(self, key: bytes, text: bytes) -> None:
        """Press a key until something is seen: the one for whom it is may not be in the foreground yet."""
        self.repeat(lambda: self.type(key), text)

    def stop(self, text: bytes) -> None:
        """Stop who is in the foreground, until something is seen."""
        self.repeat(lambda: os.kill(os.tcgetpgrp(self.master), signal.SIGTSTP), text)

    def repeat(self, do: Callable[[], None], text: bytes) -> None:
        """Do something until something is seen."""
        for _ in range(10):
            do()
            try:
                self.wait_for(text, 1.5)
            except AssertionError:
                continue
            return
        raise AssertionError(f"no {text!r} in {bytes(self.output)!r}")

    def ended(self, seconds: float = 15.0) -> int:
        """The status of the program, which must end."""

        def over() -> bool:
            self.look()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid != 0

        until(over, seconds)
        self.look()
        return self.status

    def resize(self, rows: int, columns: int) -> None:
        """Make the window larger or smaller."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(self.slave, termios.TIOCGWINSZ, bytes(8)))
        return rows, columns

    def modes(self) -> list[object]:
        """All that tcgetattr(3) says."""
        return termios.tcgetattr(self.slave)

    def waiting(self) -> int:
        """Bytes that wait to be read by who is at this terminal next. (Not line by line, or a half line is none.)"""
        modes = termios.tcgetattr(self.slave)
        modes[3] &= ~termios.ICANON
        termios.tcsetattr(self.slave, termios.TCSANOW, modes)
        return int(struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, bytes(4)))[0])

    def foreground(self) -> str:
        """The name of the program that the keys go to."""
        try:
            return Path(f"/proc/{os.tcgetpgrp(self.master)}/comm").read_text().strip()
        except OSError:
            return ""


def nslab_at(*arguments: str, rows: int = 24, columns: int = 80) -> Terminal:
    """`nslab …`, typed at a terminal."""
    return Terminal([sys.executable, "-m", "nslab", *arguments], rows, columns)
