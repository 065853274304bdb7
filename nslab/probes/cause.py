"""Why a probe or a call failed, as far as something was found (pure)."""

from __future__ import annotations

from enum import Enum, auto

from nslab.dataclass import dataclass


class CauseKind(Enum):
    """The kind of thing that was found."""

    NOTHING = auto()
    """Neither the lab nor what was seen on the way shows a cause."""
    DIFFERS = auto()
    """An object of the lab is missing or different."""
    UNMANAGED = auto()
    """Something that is not the lab's."""
    SEEN = auto()
    """The behaviour of a host: its server hangs, or nothing listens there."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a conversation failed.

    `sentence`: with the repair. `host`: where it was found; for NOTHING, where packets end ("" if nobody saw it).
    `by`: the component that makes what differs, on a real node. `seen`: what was seen when it was repeated.
    """

    sentence: str
    kind: CauseKind = CauseKind.NOTHING
    host: str = ""
    by: str = ""
    seen: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.seen}" if self.seen else self.sentence
