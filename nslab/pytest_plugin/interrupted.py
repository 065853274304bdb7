"""Signals that come while a test changes a lab."""

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
    """What nslab makes of a signal is what pytest makes of it."""
    try:
        yield
    except Stopped as stopped:
        if stopped.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from stopped
        pytest.exit("terminated", returncode=stopped.code)
