"""Signal handlers, set without the enums of `signal`: those run much code of `enum` in each process of a lab."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEFAULT, IGNORE = 0, 1
"""SIG_DFL and SIG_IGN."""


def handle(number: int, handler: Callable[[int, Any], object] | int) -> None:
    """Set the handler of a signal."""
    _signal.signal(number, handler)
