"""What belongs to a lab: its folder, its names, its processes. nslab finds all of it by name and remembers nothing.

It touches nothing below a folder until it has verified that the folder is nslab's (nslab.linux.places).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
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
from nslab.linux.visits import lock_path, visitors
from nslab.objects.names import netns
from nslab.runtime import cgroups, membership, trust
from nslab.syscall import MS_NODEV, MS_NOSUID, MS_PRIVATE, mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from nslab.runtime.membership import Table
    from nslab.runtime.trust import Started


COLLECTED = 0.5
"""Seconds that init may take to reap the dead."""
MOMENT, PAUSE = 0.3, 0.01
"""Seconds that a call waits for the lock before it says so, and between two looks."""


@dataclass(frozen=True, slots=True)
class Gone:
    """How much `down` removed; `refused`: the errors of CNI plugins' DEL."""

    namespaces: int
    processes: int
    refused: tuple[str, ...] = ()


@contextlib.contextmanager
def locked(lab: str, verb: str, busy: Callable[[str], None]) -> Iterator[None]:
    """Hold the lab's lock: one call at a time changes a lab. `busy` gets the holder before this call waits."""
    if not trust.lab_name(lab):  # it becomes part of paths
        raise UsageError(f"{lab[:60]!r} cannot be a lab's name (lower-case letters, digits and dashes)")
    descriptor = _lock(lab, busy)
    try:
        with contextlib.suppress(OSError):  # no space left: then a waiting call cannot name the holder
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"nslab {verb} {lab} (process {os.getpid()})".encode(), 0)
        yield
    finally:
        # Unlinked under the lock: a call that waits for this file sees that the name now leads elsewhere.
        with contextlib.suppress(OSError):
            os.unlink(lock_path(lab))
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(RUN)


def _lock(lab: str, busy: Callable[[str], None]) -> int:
    while True:
        try:
            public_folder(RUN)
            # Raises unless only root can write to the folder.
            os.close(root_folder())
            descriptor = os.open(lock_path(lab), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            continue  # another call just removed the empty folder
        except OSError as error:
            with contextlib.suppress(OSError):
                os.rmdir(RUN)
            raise Refused(f"touch {lock_path(lab)}", error_text(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _is_soon_free(descriptor):
                busy(os.pread(descriptor, 200, 0).decode() or "another nslab")
                with signals.allowed():
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(lock_path(lab))):
                return descriptor
        os.close(descriptor)


def _is_soon_free(descriptor: int) -> bool:
    """Wait a moment for the lock, as controllers have it for one; whether this call has it now."""
    deadline = time.monotonic() + MOMENT
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE)
    return False


def exists(lab: str) -> bool:
    """Whether a lab exists, even half-built."""
    return folder(lab).exists()


def claim(lab: str) -> None:
    """Create the lab's folder: a tmpfs, and another one in it for the names of its namespaces."""
    check(lab)
    here = folder(lab)
    if exists(lab) and not named(lab):
        procs.end(processes(lab))  # somebody unmounted the names by hand: no name leads to these processes any more
    try:
        public_folder(IP_NETNS)
        for place in (here, here / rundir.NAMES):
            os.makedirs(place, exist_ok=True)
            if not os.path.ismount(place):
                mount(SOURCE, str(place), "tmpfs", MS_NOSUID | MS_NODEV, "mode=700,size=25%")
                # Private: a mount inside must not propagate into every service's mount namespace.
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
    """All processes in the lab's namespaces, control groups or journal, and root's processes that bear its mark.

    Visitors (nslab.linux.visits) are no part of it.
    """
    table = procs.look() if table is None else table  # before the visitors: who is there has its lock by now
    grouped = dict.fromkeys(cgroups.pids(str(folder(lab))), netns(lab, ""))
    return procs.processes(inodes(lab), [lab], written(lab), grouped, table, visitors(lab))


def written(lab: str) -> list[Started]:
    """The journal entries of all processes that the lab's processes ever started."""
    here = folder(lab)
    files = (*here.glob(f"*{rundir.STARTED}"), *(here / rundir.NODES).glob(f"*{rundir.PIDS}"))
    return [record for file in files for record in trust.read(str(file)) if trust.lab_of(record.ns) == lab]


def running(lab: str) -> dict[tuple[str, str], Started]:
    """The lab's processes by (namespace, role): those in the journal that still run."""
    found = {}
    for record in written(lab):
        with contextlib.suppress(OSError):
            os.close(trust.verified(record))
            found[record.ns, record.role] = record
    return found


def impostors(lab: str, table: Table | None = None) -> list[procs.Record]:
    """Processes that claim a role which the journal does not give them. `table`: all processes, if just read."""
    table = procs.look() if table is None else table
    known = membership.journaled(written(lab), table)
    found = membership.members(table, inodes(lab), [lab], known, procs.machine())
    return [
        procs.Record(seen.pid, found[seen.pid], seen.mark[1], seen.start, seen.parent, seen.state, seen.name)
        for seen in membership.impostors(table, found, known)
    ]


@dataclass(frozen=True, slots=True)
class Census:
    """The processes in a lab. `own`: its own, and their descendants; `impostors`: those that claim a role of the lab's.

    `others`: all others in its namespaces.
    """

    own: list[procs.Record]
    impostors: list[procs.Record]
    others: list[procs.Record]


def census(lab: str) -> Census:
    """The processes in a lab now, except this one."""
    table, records, places = procs.look(), written(lab), inodes(lab)
    known = membership.journaled(records, table)
    claims = impostors(lab, table)
    strange = {record.pid for record in claims} | {os.getpid()}
    own, others = [], []
    for record in procs.processes(places, [lab], records, table=table, visitors=visitors(lab)):
        if _descends(record.pid, known, table):
            own.append(record)
        elif record.pid not in strange and table[record.pid].net in places and record.state not in "ZX":
            others.append(record)
    return Census(own, claims, others)


def _descends(pid: int, known: Mapping[int, Started], table: Table) -> bool:
    """Whether a process or one of its ancestors is in the journal."""
    while pid in table:
        if pid in known:
            return True
        pid = table[pid].parent
    return False


def inodes(lab: str) -> dict[int, str]:
    """The lab's namespaces, by inode; never our own."""
    # From what `ip netns` lists, only what is bound there: our links lead to the same namespaces.
    places = (*map(path, named(lab)), *(IP_NETNS / ns for ns in _bound(lab)))
    found = {number: place.name for place in places if (number := _inode(place))}
    # The machine's own namespace is never a lab's, whatever its name.
    for machine in procs.machines():
        found.pop(machine, None)
    return found


def _bound(lab: str) -> list[str]:
    """Namespaces with a name of the lab's that are bound in /run/netns, as by the script of `nslab plan`."""
    return [ns for ns in bound() if ns.startswith(netns(lab, ""))]


def _inode(place: Path) -> int:
    try:
        return os.stat(place).st_ino
    except OSError:
        return 0


@contextlib.contextmanager
def leaving(names: Iterable[str]) -> Iterator[dict[int, str]]:
    """Yield the namespaces that will lose their names, by inode; while this lasts, the kernel cannot reuse these."""
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


def kill_leftovers(lab: str, left: Mapping[int, str]) -> None:
    """End the processes in a lab's namespaces that lost their names (`leaving`), such as a shell in a removed pod."""
    if left:
        found = procs.processes(left, (), (), table=procs.look(), visitors=visitors(lab))
        procs.end([record for record in found if record.ns in left.values()])


def everywhere() -> list[str]:
    """All labs of which a folder, a lock, a name or a process is left."""
    names = (trust.lab_of(ns) for ns in listed() if not ns.endswith("."))
    locks = (trust.lab_name(name.removesuffix(".lock")) for name in entries(RUN) if name.endswith(".lock"))
    marked = membership.marked_labs(procs.look(), procs.machine())
    return sorted({*labs(), *names, *locks, *marked} - {""})


def release(lab: str) -> Gone:
    """End the lab's processes, then remove its names and its folder. A lab that does not exist is not an error."""
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
    with contextlib.suppress(OSError):  # not empty, or a mount point of `ip netns`
        os.rmdir(IP_NETNS)
    return Gone(len(names), len(running))


def _listed(lab: str) -> list[str]:
    """The entries of `ip netns list` that have a name of the lab's."""
    return [entry for entry in entries(IP_NETNS) if entry.startswith(f"nslab.{lab}.")]
