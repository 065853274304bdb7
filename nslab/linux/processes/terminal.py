"""The caller's terminal while a command has one of its own: raw, and restored whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_KERNELS = 36
"""Bytes of the kernel's struct termios."""


def is_ours(*descriptors: int) -> bool:
    """Whether these are terminals, and this process is in the foreground of the first."""
    if not all(map(os.isatty, descriptors)):
        return False
    try:
        return os.tcgetpgrp(descriptors[0]) == os.getpgrp()
    except OSError:
        return True  # not our controlling terminal: it cannot stop us


def modes(terminal: int) -> str:
    """The terminal's modes: the kernel's struct termios in hexadecimal."""
    return fcntl.ioctl(terminal, termios.TCGETS, bytes(_KERNELS)).hex()


def size(terminal: int) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def resize(terminal: int, like: int) -> None:
    """Set the size of a terminal to that of another; the kernel sends SIGWINCH to its foreground processes."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", *size(like), 0, 0))


@contextlib.contextmanager
def raw(terminal: int, again: Callable[[], None]) -> Iterator[None]:
    """Raw mode: every key passes unchanged. `again` is called when this process continues after a stop."""
    before = termios.tcgetattr(terminal)

    def stop() -> None:
        _restore(terminal, before)
        signal.raise_signal(signal.SIGSTOP)

    def go_on() -> None:
        with contextlib.suppress(termios.error):  # a hangup, which the kernel reports with these two signals
            tty.setraw(terminal, termios.TCSADRAIN)
            again()

    try:
        with handled({signal.SIGTSTP: stop, signal.SIGCONT: go_on}):
            tty.setraw(terminal, termios.TCSADRAIN)
            yield
    finally:
        _restore(terminal, before)


def _restore(terminal: int, modes: list[int | list[bytes | int]]) -> None:
    # SIGTTOU would stop us if we are in the background.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(termios.error):  # a hangup
        termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
    signal.signal(signal.SIGTTOU, before)


@contextlib.contextmanager
def handled(calls: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Call these on signals, but not for a signal that our parent set to be ignored, as nohup does."""
    before = {number: signal.getsignal(number) for number in calls}
    numbers = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in numbers:
            signal.signal(number, lambda number, _: calls[signal.Signals(number)]())
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
