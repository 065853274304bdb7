"""Processes of labs: looking at all that run, who is who (see runtime/trust.py), and ending them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.runtime import trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from nslab.runtime.trust import Started, Table

_MARK = b"\0NSLAB="
_LONGEST = 100
"""Of a part that somebody says he plays: it is printed."""


@dataclass(frozen=True, slots=True)
class Record:
    """One process. `role` is the one that its starter wrote down (node, tunnel, pause, container/NAME), or nothing.

    `start` (clock ticks since boot) tells it from a later process of the same number.
    """

    pid: int
    ns: str
    role: str
    start: int
    parent: int
    state: str
    name: str


def processes(
    inodes: Mapping[int, str],
    labs: Collection[str],
    written: Iterable[Started],
    grouped: Mapping[int, str] | None = None,
    table: Table | None = None,
) -> list[Record]:
    """Every process that belongs to these namespaces (number to name), to `labs`, or stands in their journals.

    `grouped`: who is in their control groups. `table`: all processes, where somebody has just looked.
    """
    table = look() if table is None else table
    known = trust.journaled(written, table)
    found = trust.members(table, inodes, labs, known, machine(), grouped)
    return [
        Record(pid, ns, known[pid].role if pid in known else "", seen.start, seen.parent, seen.state, seen.name)
        for pid, ns in sorted(found.items())
        for seen in [table[pid]]
    ]


def machine() -> int:
    """The number of the network namespace that we are in, and no lab."""
    return os.stat("/proc/self/ns/net").st_ino


def machines() -> set[int]:
    """The numbers of network namespaces that are no lab's: ours, and that of the first process."""
    return {machine(), first()}


def first() -> int:
    """The number of the first process's network namespace; 0 if that is not ours to know."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/1/ns/net").st_ino
    return 0


def look() -> Table:
    """All processes that we may look at."""
    ours, outside = os.stat("/proc/self/ns/user").st_ino, machines()
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile, or is the business of somebody mightier
                found[int(entry)] = _look(entry, ours, outside)
    return found


def _look(pid: str, ours: int, outside: set[int]) -> trust.Seen:
    name, state, parent, start = _stat(pid)
    where = pid
    if state in "ZX":
        where = _thread(pid)
        if not where:
            return trust.Seen(int(pid), start, parent, 0, state, name, ("", ""), root=False)
        state = _stat(where)[1]
    mark, net = _mark(where), os.stat(f"/proc/{where}/ns/net").st_ino
    # Whoever is in the machine's network is no lab's, whatever it says.
    marked = bool(mark[0]) and net not in outside
    root = marked and _is_root(where) and os.stat(f"/proc/{where}/ns/user").st_ino == ours
    return trust.Seen(int(pid), start, parent, net, state, name, mark, root)


def _thread(pid: str) -> str:
    """Where to look for a thread that goes on although the first one of its process has ended; nothing if none does."""
    threads = [f"{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task") if thread != pid]
    for thread in threads:
        with contextlib.suppress(OSError):
            if _stat(thread)[1] not in "ZX":
                return thread
    return ""


def _is_root(pid: str) -> bool:
    # Not by who owns /proc/PID: that is root, whoever it is, where a process does not let itself be looked into.
    status = _read(f"/proc/{pid}/status")
    at = status.find(b"\nUid:")
    return at >= 0 and status[at + 5 : status.find(b"\n", at + 1)].split()[1] == b"0"


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def _stat(pid: str) -> tuple[str, str, int, int]:
    """Name, state, parent, start."""
    head, _, tail = _read(f"/proc/{pid}/stat").rpartition(b")")
    fields = tail.split()
    return head.partition(b"(")[2].decode("utf-8", "replace"), fields[0].decode(), int(fields[1]), int(fields[19])


def _mark(pid: str) -> tuple[str, str]:
    environment = b"\0" + _read(f"/proc/{pid}/environ")
    at = environment.find(_MARK)
    if at < 0:
        return "", ""
    ns, _, more = environment[at + 7 : environment.find(b"\0", at + 1)].decode("utf-8", "replace").partition(" ")
    return ns if trust.lab_of(ns) else "", more.partition(" ")[0][:_LONGEST]


def stop(find: Callable[[], list[Record]], seconds: float = 2.0) -> list[Record]:
    """Have all that `find` finds stand still, until it finds nobody new, or so long; those that it found at last.

    Whoever forks on would be found by descent no more, were his parents killed one by one.
    """
    deadline, stopped = time.monotonic() + seconds, set[tuple[int, int]]()
    while True:
        found = find()
        new = [record for record in found if (record.pid, record.start) not in stopped]
        if not new or time.monotonic() > deadline:
            return found
        for record in new:
            stopped.add((record.pid, record.start))
            with contextlib.suppress(OSError), _held(record) as descriptor:
                signal.pidfd_send_signal(descriptor, signal.SIGSTOP)


def end(
    records: Iterable[Record], again: Callable[[], list[Record]] | None = None, seconds: float = 5.0
) -> list[Record]:
    """Kill these and wait until they are gone; then what `again` finds (they may have forked), until it finds nothing.

    Returns those that outlived the deadline.
    """
    deadline = time.monotonic() + seconds
    left = list(records)
    while left:
        alive = _end_once(left, deadline)
        left = again() if again else []
        # The dead whose parent does not collect them are nothing that could be ended.
        left = [record for record in left if record.state not in "ZX"]
        if time.monotonic() > deadline:
            return left or alive
    return []


def _end_once(records: Iterable[Record], deadline: float) -> list[Record]:
    poll = select.poll()
    waiting: dict[int, Record] = {}
    for record in records:
        try:
            descriptor = os.pidfd_open(record.pid)
        except OSError:
            continue  # gone
        if _is_same(record):
            with contextlib.suppress(ProcessLookupError):  # it just ended, and was collected
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            waiting[descriptor] = record
            poll.register(descriptor, select.POLLIN)
        else:
            os.close(descriptor)
    while waiting and (gone := poll.poll(max(0.0, deadline - time.monotonic()) * 1000)):
        for descriptor, _ in gone:
            poll.unregister(descriptor)
            os.close(descriptor)
            del waiting[descriptor]
    for descriptor in waiting:
        os.close(descriptor)
    return list(waiting.values())


@contextlib.contextmanager
def _held(record: Record) -> Iterator[int]:
    """A pidfd of a process; ProcessLookupError if it is another one by now."""
    descriptor = os.pidfd_open(record.pid)
    try:
        if not _is_same(record):
            raise ProcessLookupError
        yield descriptor
    finally:
        os.close(descriptor)


def _is_same(record: Record) -> bool:
    # Asked after the pidfd was opened: from then on the number cannot become another process's unnoticed.
    try:
        return _stat(str(record.pid))[3] == record.start
    except OSError:
        return False
