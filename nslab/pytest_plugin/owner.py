"""Whose lab it is: a file in its folder, locked by the pytest that brought it up; the kernel unlocks it with its end.

So a lab that a killed pytest left behind is known as such, and the next run takes it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from nslab.app.down import down
from nslab.errors import NslabError
from nslab.linux.netns import folder, labs

_FILE = "pytest"


class Owner:
    """The mark that a lab is this process's."""

    def __init__(self, lab: str) -> None:
        self._place = folder(lab) / _FILE
        new = self._place.with_suffix(".new")
        new.unlink(missing_ok=True)
        self._descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        new.rename(self._place)  # nobody finds it unlocked

    def release(self) -> None:
        """Whatever becomes of the lab, it is not this process's any more."""
        self._place.unlink(missing_ok=True)
        os.close(self._descriptor)


def abandoned() -> list[str]:
    """The labs whose pytest is no more."""
    return [lab for lab in labs() if _is_free(lab)]


def _is_free(lab: str) -> bool:
    try:
        descriptor = os.open(folder(lab) / _FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False  # nobody's, or of somebody who knows nothing of this
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def sweep() -> None:
    """Take away what killed runs of pytest left behind."""
    for lab in abandoned():
        with contextlib.suppress(NslabError):  # it is in their way, not in ours
            down(lab)
