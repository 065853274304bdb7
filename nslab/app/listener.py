"""Who is told while something is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


def _quiet(*_: object) -> None:
    """Nobody listens."""


class Listener(NamedTuple):
    """`busy`: who is waited for; `progress`: steps done, and steps in all; `warning`: what is probably not meant."""

    busy: Callable[[str], None] = _quiet
    progress: Callable[[int, int], None] = _quiet
    warning: Callable[[str], None] = _quiet


QUIET = Listener()
