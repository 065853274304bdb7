"""Visits: commands that read a running lab from within its namespaces, and are no part of it.

`down` ends what is in a lab's namespaces. A visitor holds a shared lock on the lab's folder, which only root can open;
the kernel lists its process in /proc/locks until it ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nslab.errors import NslabError
from nslab.linux.netns import RUN, folder, named
from nslab.quote import fill
from nslab.runtime import trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_LOCKS = "/proc/locks"


class LabGone(NslabError):
    """`down` removed the lab while a command read it."""

    def __init__(self, lab: str) -> None:
        super().__init__(fill("lab {} is gone: `nslab down` has just removed it", lab))


@contextmanager
def visiting(lab: str) -> Iterator[None]:
    """Read a running lab: `down` does not end this process meanwhile. LabGone, whatever was read, if the lab goes."""
    place = _opened(lab)
    if place is None:  # there is no such lab: what reads it says so
        yield
        return
    try:
        fcntl.flock(place, fcntl.LOCK_SH)
        try:
            yield
        except (NslabError, OSError) as error:
            if _goes(lab, place):
                raise LabGone(lab) from error
            raise
        if _goes(lab, place):
            raise LabGone(lab)
    finally:
        os.close(place)


@contextmanager
def watching_until_gone(lab: str) -> Iterator[None]:
    """Like `visiting`, for what ends when the lab goes: that is no error then, but it is one at the beginning."""
    began = False
    try:
        with visiting(lab):
            began = True
            yield
    except LabGone:
        if not began:
            raise


def visitors(lab: str) -> set[int]:
    """The pids of those who visit a lab now."""
    return _holders(folder(lab))


def lock_path(lab: str) -> Path:
    """The file that is locked while a call changes a lab."""
    return RUN / f"{lab}.lock"


def is_changing(lab: str) -> bool:
    """Whether another call, or what it left in the background, changes a lab now."""
    return bool(_holders(lock_path(lab)) - {os.getpid()})


def _opened(lab: str) -> int | None:
    with suppress(OSError):
        if trust.lab_name(lab):
            return os.open(folder(lab), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return None


def _goes(lab: str, place: int) -> bool:
    """Whether the folder is no longer the lab's, its namespaces have lost their names, or `down` is at work."""
    try:
        there = os.path.samestat(os.fstat(place), os.stat(folder(lab)))
    except FileNotFoundError:
        return True
    return not there or not named(lab) or _is_going_down(lab)


def _is_going_down(lab: str) -> bool:
    try:
        text = lock_path(lab).read_bytes()
    except OSError:
        return False
    return text.startswith(f"nslab down {lab} (".encode()) and bool(_holders(lock_path(lab)))


def _holders(place: Path) -> set[int]:
    """The processes with a lock on a file or folder."""
    try:
        status = os.stat(place, follow_symlinks=False)
        with open(_LOCKS, encoding="ascii") as lines:
            return set(holders(lines, (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)))
    except OSError:
        return set()


def holders(lines: Iterable[str], wanted: tuple[int, int, int]) -> Iterator[int]:
    """The pids with a lock by flock(2) on a file: device (major, minor) and inode, as /proc/locks lists it (proc(5)).

    Those who wait for one (`->`) have none.
    """
    for line in lines:
        _, kind, *rest = line.split()
        if kind != "FLOCK":
            continue
        pid, file = rest[2:4]
        major, minor, inode = file.split(":")
        if (int(major, 16), int(minor, 16), int(inode)) == wanted and int(pid) > 0:
            yield int(pid)
