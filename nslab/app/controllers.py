"""The controllers of a lab: a process of its own, as long as they have anything to do, now or later.

It looks at what the nodes report, and changes the lab as `apply` does.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.admission.change import moved_on
from nslab.app.terminating import leave
from nslab.controllers.controlled import begun, stepped, unfinished, wakes
from nslab.errors import NslabError, UsageError
from nslab.lab import cron_jobs
from nslab.lab.cron_jobs import is_acting
from nslab.lab.find import FILE
from nslab.lab.jobs import INFINITY, deadline, due, ended, expires, jobs
from nslab.lab.status import merge_status
from nslab.linux.netns import folder
from nslab.linux.places import write
from nslab.linux.processes import status
from nslab.linux.processes.procs import start_of
from nslab.linux.stored_lab import stored_lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nslab.lab.types import Lab

    Files = tuple[tuple[str, int], ...]

PAUSE = 0.2
"""Seconds between two looks at the files that say how the lab and its pods are."""
TRIES = 3
"""How often a change may fail in a row."""


def control(name: str, act: Callable[[str], bool]) -> None:
    """Act as the controllers until they have nothing to do any more, or the lab is gone.

    `act` changes the lab, and says whether there was anything to change. A second such process ends at once.
    """
    if not _is_alone(name):
        return
    seen: Files = ()
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
                failures = 0 if act(name) else failures + 1
            elif not is_needed(lab) and _may_end(name, files):
                return
        except (NslabError, OSError) as error:
            if isinstance(error, UsageError) and not (folder(name) / FILE).exists():
                return  # the lab is gone
            failures += 1
            time.sleep(PAUSE)


def _may_end(name: str, files: Files) -> bool:
    """Whether nothing has come since these files were looked at; then this process is none of the controllers any more.

    Who changes the lab later finds no process and starts one; who has done so before relies on this one.
    """
    (folder(name) / rundir.CONTROLLERS).unlink(missing_ok=True)
    return _files(name) == files or not _is_alone(name)


def is_needed(lab: Lab) -> bool:
    """Whether controllers have anything to do, now or later."""
    if is_acting(lab) or any(expires(one) < INFINITY for one in lab.controllers):
        return True
    return bool(unfinished(lab)) or any(job.replicas for job, _ in jobs(lab))


def are_missing(lab: Lab) -> bool:
    """Whether they have something to do, and nobody does it."""
    return is_needed(lab) and not _runs(folder(lab.name) / rundir.CONTROLLERS)


def begin(lab: Lab) -> None:
    """Start the controllers if they are needed, and do not wait for them."""
    if is_needed(lab):
        leave(lab.name, "control")


def first_step(new: Lab, kept: Lab | None) -> Lab:
    """The lab as controllers begin to make it of the kept one. `new`: as it is to be in the end."""
    if kept is None:
        return begun(new)
    return stepped(merge_status(new, kept), kept, status.read_status(kept.name), time.time())


def acted(lab: Lab) -> Lab:
    """The lab after the next step of its controllers, if they have anything to do."""
    return moved_on(lab, status.read_status(lab.name), time.time()) if is_needed(lab) else lab


def _next(lab: Lab) -> float:
    """When there is something to do, in seconds since 1970; 0: now."""
    report, now = status.read_status(lab.name), time.time()
    times = [min(due(job, pods, ended(pods, report)), deadline(job, lab)) for job, pods in jobs(lab)]
    times += [cron_jobs.due(lab, now), *(expires(one) for one in lab.controllers)]
    if unfinished(lab):
        times.append(wakes(lab, report, now) if moved_on(lab, report, now) == lab else 0.0)
    return min(times, default=float("inf"))


def _files(name: str) -> Files:
    """What changes when the lab or its pods' status does: files with the times of their changes."""
    here = folder(name)
    paths = [here / FILE, *sorted((here / rundir.NODES).glob(f"*{rundir.STATUS}"))]
    return tuple((path.name, path.stat().st_mtime_ns) for path in paths if path.exists())


def _is_alone(name: str) -> bool:
    """Whether no other process controls the lab; then this one does."""
    file = folder(name) / rundir.CONTROLLERS
    if _runs(file):
        return False
    try:
        write(file, _me())
    except OSError:
        return False
    return True


def _runs(file: Path) -> bool:
    """Whether the process of the controllers runs that a file names."""
    try:
        pid, start = map(int, file.read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return False
    return start_of(pid) == start


def _is_mine(name: str) -> bool:
    try:
        return (folder(name) / rundir.CONTROLLERS).read_text(encoding="utf-8") == _me()
    except OSError:
        return False


def _me() -> str:
    return f"{os.getpid()} {start_of(os.getpid())}"
