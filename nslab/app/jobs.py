"""The Job controller of a lab: a process of its own, as long as Jobs are unfinished.

It looks at what the nodes report, and changes the lab as `apply` does.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.app.terminating import leave
from nslab.errors import NslabError, UsageError
from nslab.lab.find import FILE
from nslab.lab.jobs import due, ended, is_open, jobs
from nslab.linux.netns import folder
from nslab.linux.places import write
from nslab.linux.processes import status
from nslab.linux.processes.procs import start_of
from nslab.linux.stored_lab import stored_lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.lab.types import Lab

PAUSE = 0.2
"""Seconds between two looks at the files that say how the lab and its pods are."""
TRIES = 3
"""How often a change may fail in a row."""


def control(name: str, move_on: Callable[[str], object]) -> None:
    """Act as the Job controller until all Jobs are over, or the lab is gone. `move_on` changes it.

    A second one ends at once.
    """
    if not _is_alone(name):
        return
    seen: tuple[tuple[str, int], ...] = ()
    failures, wake = 0, 0.0
    while failures < TRIES and _is_mine(name):
        files = _files(name)
        if files == seen and time.time() < wake:
            time.sleep(PAUSE)
            continue
        try:
            lab = stored_lab(name)
            seen, wake = files, _next(lab)
            if wake <= time.time():
                move_on(name)
                failures = failures + 1 if _next(stored_lab(name)) <= time.time() else 0
            elif not is_needed(lab):
                return
        except UsageError:
            return  # the lab is gone
        except (NslabError, OSError):
            failures += 1
            time.sleep(PAUSE)


def is_needed(lab: Lab) -> bool:
    """Whether a Job is neither complete nor failed."""
    found = [*jobs(lab)]
    report = status.read_status(lab.name) if found else {}
    return any(is_open(job, ended(pods, report)) for job, pods in found)


def begin(lab: Lab) -> None:
    """Start the Job controller if it is needed, and do not wait for it."""
    if is_needed(lab):
        leave(lab.name, "control_jobs")


def _next(lab: Lab) -> float:
    report = status.read_status(lab.name)
    return min((due(job, pods, ended(pods, report)) for job, pods in jobs(lab)), default=float("inf"))


def _files(name: str) -> tuple[tuple[str, int], ...]:
    """What changes when the lab or its pods' status does: files with the times of their changes."""
    here = folder(name)
    paths = [here / FILE, *sorted((here / rundir.NODES).glob(f"*{rundir.STATUS}"))]
    return tuple((path.name, path.stat().st_mtime_ns) for path in paths if path.exists())


def _is_alone(name: str) -> bool:
    """Whether no other process controls the lab's Jobs; then this one does."""
    file = folder(name) / rundir.JOBS
    try:
        pid, start = map(int, file.read_text(encoding="utf-8").split())
        if start_of(pid) == start:
            return False
    except (OSError, ValueError):
        pass
    try:
        write(file, _me())
    except OSError:
        return False
    return True


def _is_mine(name: str) -> bool:
    try:
        return (folder(name) / rundir.JOBS).read_text(encoding="utf-8") == _me()
    except OSError:
        return False


def _me() -> str:
    return f"{os.getpid()} {start_of(os.getpid())}"
