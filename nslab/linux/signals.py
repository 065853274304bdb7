"""Signals that ask `up` to end: they wait until it is where it can take back what it did."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Never

from nslab.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_ALONE = threading.RLock()
"""Held by the thread that changes labs. What that changes for a while, handlers and umask, is the whole process's."""


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """In here a signal has no effect, but where `check` is called or in `allowed`: there it raises Stopped.

    One that comes after the last of these places came too late, and one on the heels of the first changes nothing.
    Of the threads of a process one at a time is in here; to all but the main one no signal ever comes.
    """
    with _ALONE:
        if threading.current_thread() is threading.main_thread():
            with _unheard():
                yield
        else:
            yield


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    defer()
    try:
        yield
    finally:
        _pending()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def defer() -> None:
    """The same for the rest of this process."""
    heard = {number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    for number in heard:
        signal.signal(number, _raise)


def check() -> None:
    """Raise Stopped if a signal came meanwhile."""
    if number := _pending():
        raise Stopped(number)


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """For a wait within `blocked`: in here a signal raises Stopped at once."""
    heard = {number for number in _SIGNALS if signal.getsignal(number) is _raise}
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, heard)


def _raise(number: int, _: object) -> Never:
    raise Stopped(number)


def _pending() -> int:
    """The first signal that waits, 0 if there is none; after this none does."""
    numbers = [signal.sigwait({number}) for number in signal.sigpending() & _SIGNALS]
    return numbers[0] if numbers else 0
