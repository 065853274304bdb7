"""What belongs to a lab: its folder, its names, its processes. All of it is found by name, none of it remembered.

Nothing is touched below a folder that has not been verified to be ours (nslab.linux.places).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.dataclass import dataclass
from nslab.errors import NslabError, Refused, UsageError, error_text
from nslab.linux import signals
from nslab.linux.netns import (
    IP_NETNS,
    RUN,
    bound,
    entries,
    folder,
    labs,
    link_name,
    listed,
    named,
    path,
    public_folder,
    unlink_name,
)
from nslab.linux.places import SOURCE, check, dismantle, root_folder
from nslab.linux.processes import procs
from nslab.objects.names import netns
from nslab.runtime import cgroups, trust
from nslab.syscall import MS_NODEV, MS_NOSUID, MS_PRIVATE, mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from nslab.runtime.trust import Started, Table


COLLECTED = 0.5
"""Seconds that the machine's first process may take to collect the dead."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What `down` took away; `refused`: what CNI plugins said against being asked to let go."""

    namespaces: int
    processes: int
    refused: tuple[str, ...] = ()


@contextlib.contextmanager
def locked(lab: str, verb: str, busy: Callable[[str], None]) -> Iterator[None]:
    """One call at a time changes a lab. `busy` is told who is at it before this one waits."""
    if not trust.lab_name(lab):  # it becomes part of paths
        raise UsageError(f"{lab[:60]!r} cannot be a lab's name (lower-case letters, digits and dashes)")
    descriptor = _lock(lab, busy)
    try:
        with contextlib.suppress(OSError):  # no space left: then nobody learns who it is
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"nslab {verb} {lab} (process {os.getpid()})".encode(), 0)
        yield
    finally:
        # Unlinked under the lock: whoever waits for this file finds that it is no longer the one by that name.
        with contextlib.suppress(OSError):
            os.unlink(_lock_path(lab))
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(RUN)


def _lock(lab: str, busy: Callable[[str], None]) -> int:
    while True:
        try:
            public_folder(RUN)
            # In a folder that is root's alone; and nobody else may hold it.
            os.close(root_folder())
            descriptor = os.open(_lock_path(lab), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            continue  # somebody's last act was to remove the empty folder
        except OSError as error:
            with contextlib.suppress(OSError):
                os.rmdir(RUN)
            raise Refused(f"touch {_lock_path(lab)}", error_text(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy(os.pread(descriptor, 200, 0).decode() or "another nslab")
            with signals.allowed():
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(_lock_path(lab))):
                return descriptor
        os.close(descriptor)


def _lock_path(lab: str) -> Path:
    return RUN / f"{lab}.lock"


def exists(lab: str) -> bool:
    """Whether there is anything of a lab, be it half-built."""
    return folder(lab).exists()


def claim(lab: str) -> None:
    """Make the lab's folder: a tmpfs, and another one in it for the names of its namespaces."""
    check(lab)
    here = folder(lab)
    if exists(lab) and not named(lab):
        procs.end(processes(lab))  # somebody unmounted the names by hand; nothing leads to these any more
    try:
        public_folder(IP_NETNS)
        for place in (here, here / rundir.NAMES):
            os.makedirs(place, exist_ok=True)
            if not os.path.ismount(place):
                mount(SOURCE, str(place), "tmpfs", MS_NOSUID | MS_NODEV, "mode=700,size=25%")
                # Private: what is mounted inside must not be copied into every service's mount namespace.
                mount("", str(place), flags=MS_PRIVATE)
        for kept in (rundir.NODES, rundir.PODS):
            os.makedirs(here / kept, 0o700, exist_ok=True)
        for ns in named(lab):
            link_name(ns)
    except OSError as error:
        if not named(lab):
            release(lab)
        raise Refused(f"mount -t tmpfs nslab {here}", error_text(error)) from error


def processes(lab: str, table: Table | None = None) -> list[procs.Record]:
    """Everything that runs in the lab's namespaces or groups, is in its journal, or bears its mark and is root's."""
    grouped = dict.fromkeys(cgroups.pids(str(folder(lab))), netns(lab, ""))
    return procs.processes(inodes(lab), [lab], written(lab), grouped, table)


def written(lab: str) -> list[Started]:
    """What the starters of the lab's processes wrote down, of all that they ever started."""
    here = folder(lab)
    files = (*here.glob(f"*{rundir.STARTED}"), *(here / rundir.NODES).glob(f"*{rundir.PIDS}"))
    return [record for file in files for record in trust.read(str(file)) if trust.lab_of(record.ns) == lab]


def running(lab: str) -> dict[tuple[str, str], Started]:
    """Who plays which part in a lab, (namespace, role), as its starter wrote it down and as it is still there."""
    found = {}
    for record in written(lab):
        with contextlib.suppress(OSError):
            os.close(trust.verified(record))
            found[record.ns, record.role] = record
    return found


def impostors(lab: str, table: Table | None = None) -> list[procs.Record]:
    """Who in a lab says that it plays a part which nobody gave it. `table`: where somebody has just looked."""
    table = procs.look() if table is None else table
    known = trust.journaled(written(lab), table)
    found = trust.members(table, inodes(lab), [lab], known, procs.machine())
    return [
        procs.Record(seen.pid, found[seen.pid], seen.mark[1], seen.start, seen.parent, seen.state, seen.name)
        for seen in trust.impostors(table, found, known)
    ]


def inodes(lab: str) -> dict[int, str]:
    """The lab's namespaces, but for our own: the kernel's number for each, and its name."""
    # Of what `ip netns` lists, only what somebody bound there: our links lead to the first.
    places = (*map(path, named(lab)), *(IP_NETNS / ns for ns in _bound(lab)))
    found = {number: place.name for place in places if (number := _inode(place))}
    # Whatever name somebody gave it, the machine's own namespace is never the lab's.
    for machine in procs.machines():
        found.pop(machine, None)
    return found


def _bound(lab: str) -> list[str]:
    """What somebody bound by a name of the lab's where `ip netns` keeps its own: the script of `nslab plan` does."""
    return [ns for ns in bound() if ns.startswith(netns(lab, ""))]


def _inode(place: Path) -> int:
    try:
        return os.stat(place).st_ino
    except OSError:
        return 0


@contextlib.contextmanager
def leaving(names: Iterable[str]) -> Iterator[dict[int, str]]:
    """Namespaces that will lose their names: their numbers, which no other namespace gets as long as this lasts."""
    held: dict[int, str] = {}
    descriptors = []
    try:
        for ns in names:
            with contextlib.suppress(FileNotFoundError):
                descriptors.append(os.open(path(ns), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
                held[os.fstat(descriptors[-1]).st_ino] = ns
        yield held
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def kill_leftovers(left: Mapping[int, str]) -> None:
    """End what still runs in namespaces that lost their names (`leaving`): a shell in a pod that is no more."""
    if left:
        procs.end([record for record in procs.processes(left, (), ()) if record.ns in left.values()])


def everywhere() -> list[str]:
    """All labs that anything is left of: a folder, a lock, a name, a process."""
    names = (trust.lab_of(ns) for ns in listed() if not ns.endswith("."))
    locks = (trust.lab_name(name.removesuffix(".lock")) for name in entries(RUN) if name.endswith(".lock"))
    marked = trust.marked_labs(procs.look(), procs.machine())
    return sorted({*labs(), *names, *locks, *marked} - {""})


def release(lab: str) -> Gone:
    """End what runs in the lab, then take its names and its folder away. Finding nothing is no error."""
    names, running = {*named(lab), *_bound(lab)}, processes(lab)
    if procs.machine() != procs.first() and any(_inode(path(ns)) == procs.machine() for ns in names):
        raise UsageError(f"this runs inside lab {lab}; leave it first")
    here = folder(lab)
    own = cgroups.name(str(here)) if exists(lab) else ""
    if running and not (own and cgroups.kill(str(here))):
        running = procs.stop(lambda: processes(lab))
    left = procs.end(running, again=lambda: processes(lab))
    if left:
        raise NslabError(f"process {left[0].pid} ({left[0].name}) of lab {lab} does not end")
    for group in {own, *cgroups.left(lab)} - {""}:
        cgroups.remove(group, COLLECTED if group == own else 0.0)
    dismantle(lab)
    for ns in _listed(lab):
        unlink_name(ns)
    with contextlib.suppress(OSError):  # it is not empty, or a mount of `ip netns`
        os.rmdir(IP_NETNS)
    return Gone(len(names), len(running))


def _listed(lab: str) -> list[str]:
    """What `ip netns` lists of a lab."""
    return [entry for entry in entries(IP_NETNS) if entry.startswith(f"nslab.{lab}.")]
