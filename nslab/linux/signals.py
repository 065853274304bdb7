"""Defer SIGINT and SIGTERM until a point at which `up` can roll back, or make them readable for who waits."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Never

from nslab.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_ALONE = threading.RLock()
"""Held by the thread that changes a lab: signal handlers and umask, which it changes meanwhile, are per process."""


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Block the signals; they raise Stopped only in `check` and inside `allowed`.

    A signal after the last of these points has no effect, nor has one that follows the first. One thread of a process
    at a time is in here; signals only ever come to the main thread.
    """
    with _ALONE:
        if threading.current_thread() is threading.main_thread():
            with _deferred():
                yield
        else:
            yield


@contextlib.contextmanager
def _deferred() -> Iterator[None]:
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
    """Like `blocked`, for the rest of this process."""
    handled = {number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    for number in handled:
        signal.signal(number, _raise)


def check() -> None:
    """Raise Stopped if a signal is pending."""
    if number := _pending():
        raise Stopped(number)


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """For a wait within `blocked`: here a signal raises Stopped at once."""
    handled = {number for number in _SIGNALS if signal.getsignal(number) is _raise}
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, handled)


def _raise(number: int, _: object) -> Never:
    raise Stopped(number)


def _pending() -> int:
    """Consume all pending signals and return one of them, 0 without any."""
    numbers = [signal.sigwait({number}) for number in signal.sigpending() & _SIGNALS]
    return numbers[0] if numbers else 0


@contextlib.contextmanager
def stop_descriptor() -> Iterator[int]:
    """A descriptor that is readable once SIGINT or SIGTERM came; a second signal ends nslab."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b".")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
