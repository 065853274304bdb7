"""The caller's terminal while a command has one of its own: raw, and given back as it was whatever happens."""

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
    """Whether these are terminals, and we are not in the background of the first."""
    if not all(map(os.isatty, descriptors)):
        return False
    try:
        return os.tcgetpgrp(descriptors[0]) == os.getpgrp()
    except OSError:
        return True  # it is not our controlling terminal: then nobody stops us


def modes(terminal: int) -> str:
    """How it treats lines and keys, as hexadecimal digits of the kernel's structure."""
    return fcntl.ioctl(terminal, termios.TCGETS, bytes(_KERNELS)).hex()


def size(terminal: int) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def resize(terminal: int, like: int) -> None:
    """Give one the size of another; the kernel tells who runs in it."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", *size(like), 0, 0))


@contextlib.contextmanager
def raw(terminal: int, again: Callable[[], None]) -> Iterator[None]:
    """Every key comes through, and nothing is added. `again` is called when we were stopped and go on."""
    before = termios.tcgetattr(terminal)

    def stop() -> None:
        _restore(terminal, before)
        signal.raise_signal(signal.SIGSTOP)

    def go_on() -> None:
        with contextlib.suppress(termios.error):  # it hung up, of which we are told with these two signals
            tty.setraw(terminal, termios.TCSADRAIN)
            again()

    try:
        with handled({signal.SIGTSTP: stop, signal.SIGCONT: go_on}):
            tty.setraw(terminal, termios.TCSADRAIN)
            yield
    finally:
        _restore(terminal, before)


def _restore(terminal: int, modes: list[int | list[bytes | int]]) -> None:
    # From the background, too.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(termios.error):  # it hung up
        termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
    signal.signal(signal.SIGTTOU, before)


@contextlib.contextmanager
def handled(calls: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Have these called when signals come; not where who started us has them ignored, as nohup does."""
    before = {number: signal.getsignal(number) for number in calls}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, lambda number, _: calls[signal.Signals(number)]())
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
