"""Processes of labs: finding them by namespace, mark and descent, and ending them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nslab.linux.agents import Agents, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = ["Agents", "NotReady", "Record", "end", "processes"]

_MARK = b"\0NSLAB=nslab."


@dataclass(frozen=True, slots=True)
class Record:
    """One process. `role` is as marked (node, tunnel, pause, container/NAME), or nothing: a child, somebody's shell.

    `start` (clock ticks since boot) tells it from a later process of the same number.
    """

    pid: int
    ns: str
    role: str
    start: int
    parent: int
    state: str
    name: str


def processes(inodes: Mapping[int, str], labs: Collection[str] = ()) -> list[Record]:
    """Every process that belongs to these namespaces (inode to name) or to `labs`.

    It does if it is in one of the namespaces, if its mark names a lab, or if it descends from such a process
    (which may have gone into namespaces of its own).
    """
    prefixes = {name.rsplit(".", 1)[0] for name in inodes.values()} | {f"nslab.{lab}" for lab in labs}
    stats: dict[int, tuple[str, str, int, int]] = {}
    places: dict[int, tuple[str, str]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stats[int(entry)] = _stat(entry)
                ns, role = _mark(entry)
                if ns.rsplit(".", 1)[0] not in prefixes:
                    # Asked last: it makes the kernel build three more inodes, most of the cost of a look.
                    ns, role = inodes.get(os.stat(f"/proc/{entry}/ns/net").st_ino, ""), ""
            except OSError:
                continue  # it ended meanwhile, or is the business of somebody mightier
            if ns:
                places[int(entry)] = ns, role
    _descend(places, stats)
    return [
        Record(pid, ns, role if _is_own(pid, role, places, stats) else "", start, parent, state, name)
        for pid, (ns, role) in sorted(places.items())
        for name, state, parent, start in [stats[pid]]
    ]


def marked_labs() -> set[str]:
    """The labs that processes bear the marks of."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                found.add(_mark(entry)[0])
    return {ns.split(".")[1] for ns in found if ns.count(".") == 2}


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
    words = environment[at + 7 : environment.find(b"\0", at + 1)].decode("utf-8", "replace").split(" ")
    # What `nslab exec` started has a mark without a role of ours.
    return words[0], words[1] if len(words) > 1 and words[1] != "exec" else ""


def _descend(places: dict[int, tuple[str, str]], stats: Mapping[int, tuple[str, str, int, int]]) -> None:
    """Add all that descend from these."""
    children: dict[int, list[int]] = {}
    for pid, (_, _, parent, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    todo = list(places)
    while todo:
        parent = todo.pop()
        for child in children.get(parent, ()):
            if child not in places:
                places[child] = places[parent][0], ""
                todo.append(child)


def _is_own(
    pid: int, role: str, places: Mapping[int, tuple[str, str]], stats: Mapping[int, tuple[str, str, int, int]]
) -> bool:
    """Whether a role is this process's own. A container's children inherit its mark; their parents are in there too."""
    parent = stats[pid][2]
    if not role.startswith("container/"):
        return role != "" and places.get(parent, ("", ""))[1] != role
    try:
        status = _read(f"/proc/{parent}/status")
    except OSError:
        return True
    # Its number in each pid namespace from ours inwards: one number, if it is in ours.
    at = status.find(b"\nNSpid:") + 1
    return len(status[at : status.find(b"\n", at)].split()) == 2


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


def _is_same(record: Record) -> bool:
    # Asked after the pidfd was opened: from then on the number cannot become another process's unnoticed.
    try:
        return _stat(str(record.pid))[3] == record.start
    except OSError:
        return False
