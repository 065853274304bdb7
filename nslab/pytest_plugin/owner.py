"""The owner of a lab: a file in its folder, locked by the pytest that brought it up. The kernel unlocks it at its end.

So the next run finds the labs that a killed pytest left behind, and removes them.
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
    """The mark that this process owns a lab."""

    def __init__(self, lab: str) -> None:
        self._place = folder(lab) / _FILE
        new = self._place.with_suffix(".new")
        new.unlink(missing_ok=True)
        self._descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        new.rename(self._place)  # locked before anybody can see it

    def release(self) -> None:
        """Give up the ownership of the lab."""
        self._place.unlink(missing_ok=True)
        os.close(self._descriptor)


def abandoned() -> list[str]:
    """The labs whose pytest has ended."""
    return [lab for lab in labs() if _is_free(lab)]


def _is_free(lab: str) -> bool:
    try:
        descriptor = os.open(folder(lab) / _FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False  # not brought up by pytest
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def sweep() -> None:
    """Remove the labs that killed runs of pytest left behind."""
    for lab in abandoned():
        with contextlib.suppress(NslabError):  # an old lab does not disturb this run
            down(lab)
