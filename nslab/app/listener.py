"""Callbacks of a use case while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


def _quiet(*_: object) -> None:
    """Ignore the event."""


class Listener(NamedTuple):
    """`busy`: which call holds the lab's lock; `progress`: steps done, and their total; `warning`: a likely mistake."""

    busy: Callable[[str], None] = _quiet
    progress: Callable[[int, int], None] = _quiet
    warning: Callable[[str], None] = _quiet


QUIET = Listener()
