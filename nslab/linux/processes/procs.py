"""Processes of labs: read the process table, identify them (see runtime/trust.py), and end them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.runtime import membership, trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from nslab.runtime.membership import Table
    from nslab.runtime.trust import Started

_MARK = b"\0NSLAB="
_LONGEST = 100
"""Bytes of a claimed role: nslab prints it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One process. `role`: its role in the journal (node, tunnel, pause, container/NAME), or "".

    `start` (clock ticks since boot) distinguishes it from a later process with the same pid.
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
    visitors: Collection[int] = (),
) -> list[Record]:
    """Every process in these namespaces (inode to name), of `labs` by its mark, or in their journals (`written`).

    `grouped`: the processes in their control groups. `table`: all processes, if just read. `visitors`: pids that are in
    these namespaces only to read.
    """
    table = look() if table is None else table
    known = membership.journaled(written, table)
    found = membership.members(table, inodes, labs, known, machine(), grouped, visitors)
    return [
        Record(pid, ns, known[pid].role if pid in known else "", seen.start, seen.parent, seen.state, seen.name)
        for pid, ns in sorted(found.items())
        for seen in [table[pid]]
    ]


def machine() -> int:
    """The inode of this process's network namespace."""
    return os.stat("/proc/self/ns/net").st_ino


def machines() -> set[int]:
    """The inodes of network namespaces that are never a lab's: this process's, and init's."""
    return {machine(), first()}


def first() -> int:
    """The inode of init's network namespace; 0 without permission to read it."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/1/ns/net").st_ino
    return 0


def look() -> Table:
    """All processes that this one may inspect, by pid."""
    ours, outside = os.stat("/proc/self/ns/user").st_ino, machines()
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or we lack permission
                found[int(entry)] = _look(entry, ours, outside)
    return found


def _look(pid: str, ours: int, outside: set[int]) -> membership.ProcessEntry:
    name, state, parent, start = _stat(pid)
    where = pid
    if state in "ZX":
        where = _thread(pid)
        if not where:
            return membership.ProcessEntry(int(pid), start, parent, 0, state, name, ("", ""), root=False)
        state = _stat(where)[1]
    mark, net = _mark(where), os.stat(f"/proc/{where}/ns/net").st_ino
    # A process in the machine's network is never a lab's, whatever its mark.
    marked = bool(mark[0]) and net not in outside
    root = marked and _is_root(where) and os.stat(f"/proc/{where}/ns/user").st_ino == ours
    return membership.ProcessEntry(int(pid), start, parent, net, state, name, mark, root)


def _thread(pid: str) -> str:
    """The /proc path of a live thread whose thread group leader has ended; "" without one."""
    threads = [f"{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task") if thread != pid]
    for thread in threads:
        with contextlib.suppress(OSError):
            if _stat(thread)[1] not in "ZX":
                return thread
    return ""


def _is_root(pid: str) -> bool:
    # Not by the owner of /proc/PID: root owns it for every process that is not dumpable.
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
    """Name, state, parent's pid, start."""
    head, _, tail = _read(f"/proc/{pid}/stat").rpartition(b")")
    fields = tail.split()
    return head.partition(b"(")[2].decode("utf-8", "replace"), fields[0].decode(), int(fields[1]), int(fields[19])


def start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if there is none, or if it has ended and was not reaped."""
    try:
        _, state, _, start = _stat(str(pid))
    except OSError:
        return 0
    return 0 if state in "ZX" else start


def _mark(pid: str) -> tuple[str, str]:
    environment = b"\0" + _read(f"/proc/{pid}/environ")
    at = environment.find(_MARK)
    if at < 0:
        return "", ""
    ns, _, more = environment[at + 7 : environment.find(b"\0", at + 1)].decode("utf-8", "replace").partition(" ")
    return ns if trust.lab_of(ns) else "", more.partition(" ")[0][:_LONGEST]


def stop(find: Callable[[], list[Record]], seconds: float = 2.0) -> list[Record]:
    """Stop (SIGSTOP) all that `find` finds, until it finds no new ones or the time is up; return its last result.

    Killing parents one by one would break the descent by which the children of a forking process are found.
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
    """Kill processes and wait for their end; then those that `again` finds (they may have forked), until it finds none.

    Returns those that are alive at the deadline.
    """
    deadline = time.monotonic() + seconds
    left = list(records)
    while left:
        alive = _end_once(left, deadline)
        left = again() if again else []
        # Zombies that their parent does not reap cannot be killed.
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
            with contextlib.suppress(ProcessLookupError):  # it has just ended and been reaped
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
    """Yield a pidfd of a process; ProcessLookupError if its pid is another one's by now."""
    descriptor = os.pidfd_open(record.pid)
    try:
        if not _is_same(record):
            raise ProcessLookupError
        yield descriptor
    finally:
        os.close(descriptor)


def _is_same(record: Record) -> bool:
    # Checked after pidfd_open: a pidfd never refers to another process that reuses the pid.
    try:
        return _stat(str(record.pid))[3] == record.start
    except OSError:
        return False
