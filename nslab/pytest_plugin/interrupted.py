"""Signals during a test's changes of a lab."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import pytest

from nslab.errors import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """Translate nslab's exception for a signal into pytest's."""
    try:
        yield
    except Stopped as stopped:
        if stopped.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from stopped
        pytest.exit("terminated", returncode=stopped.code)
