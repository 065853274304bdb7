"""Why a probe or a call failed, as far as something was found (pure)."""

from __future__ import annotations

from enum import Enum, auto

from nslab.dataclass import dataclass, replace


class CauseKind(Enum):
    """The kind of thing that was found."""

    NOTHING = auto()
    """Neither the lab nor what was seen on the way shows a cause."""
    NOT_FOLLOWED = auto()
    """Nothing of the lab shows a cause, and the conversation was not followed: there were too many."""
    DIFFERS = auto()
    """An object of the lab is missing or different."""
    UNMANAGED = auto()
    """Something that is not the lab's."""
    SEEN = auto()
    """The behaviour of a host: its server hangs, or nothing listens there."""


UNKNOWN = (CauseKind.NOTHING, CauseKind.NOT_FOLLOWED)


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


def as_of(other: Cause, name: str) -> Cause:
    """The cause of a failure that was not followed: that of `name`, which fails alike and was."""
    return replace(other, sentence=f"not followed; of {name}, which fails alike: {other.sentence}", seen="")


def unfollowed(cause: Cause, followed: int, failed: int) -> Cause:
    """That no cause was found without following, and how many of the failures were followed."""
    sentence = f"{cause.sentence}; not followed: only {followed} of {failed} failures were"
    return replace(cause, sentence=sentence, kind=CauseKind.NOT_FOLLOWED)
