"""Which processes must end with a lab, and which claim a role that they were not given.

A process belongs to a lab if it is in the lab's network namespaces, control groups or journal, or descends from such a
process. The mark alone counts only for root's processes in our user namespace and outside the machine's network.
"""

from __future__ import annotations

from nslab.runtime.trust import Started, lab_of, stays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import TypeAlias

    Table: TypeAlias = "Mapping[int, ProcessEntry]"

ROLELESS = ("", "exec", "cni", "container")
"""The second words of a mark that claim no role."""
FORKING = ("node", "spawner", "kube-proxy", "felix")
"""Roles that fork: for a moment, their children have the same mark."""


class ProcessEntry:
    """A process in the process table. `mark`: its first two words; a claim that the process can forge.

    `root`: its effective user is 0 of our own user namespace.
    """

    __slots__ = ("mark", "name", "net", "parent", "pid", "root", "start", "state")

    def __init__(
        self, pid: int, start: int, parent: int, net: int, state: str, name: str, mark: tuple[str, str], root: bool
    ) -> None:
        self.pid, self.start, self.parent, self.net = pid, start, parent, net
        self.state, self.name, self.mark, self.root = state, name, mark, root


def journaled(records: Iterable[Started], table: Table) -> dict[int, Started]:
    """The processes of the table that still match their entry in the journal, by pid."""
    return {
        record.pid: record
        for record in records
        if (seen := table.get(record.pid)) and seen.start == record.start and stays(record, seen.net)
    }


def members(
    table: Table,
    inodes: Mapping[int, str],
    labs: Collection[str],
    known: Mapping[int, Started],
    machine: int,
    grouped: Mapping[int, str] | None = None,
    visitors: Collection[int] = (),
) -> dict[int, str]:
    """The processes that must end with these labs: pid to the name of a namespace, or to the lab's prefix.

    `inodes`: the labs' network namespaces and their names; `machine`: the machine's own, which is never a lab's;
    `grouped`: the processes in the labs' control groups. `visitors`: those who only read, who are
    no members by a namespace.
    """
    found = {pid: record.ns for pid, record in known.items()}
    found |= {pid: ns for pid, ns in (grouped or {}).items() if pid in table and pid not in found}
    for pid, seen in table.items():
        if seen.net in inodes and seen.net != machine and pid not in visitors:
            found.setdefault(pid, inodes[seen.net])
        elif seen.root and seen.net != machine and seen.mark[0] and lab_of(seen.mark[0]) in labs:
            found.setdefault(pid, seen.mark[0])
    children: dict[int, list[int]] = {}
    for pid, seen in table.items():
        children.setdefault(seen.parent, []).append(pid)
    todo = list(found)
    while todo:
        parent = todo.pop()
        for child in children.get(parent, ()):
            if child not in found:
                found[child] = found[parent]
                todo.append(child)
    return found


def impostors(table: Table, of_lab: Mapping[int, str], known: Mapping[int, Started]) -> list[ProcessEntry]:
    """The processes of a lab that claim a role without an entry in the journal.

    A new child of a forking role still has the mark of its parent, whose claim is true.
    """
    return [
        seen
        for pid in sorted(of_lab)
        if (seen := table.get(pid)) and pid not in known and seen.mark[1] not in ROLELESS and seen.state not in "ZX"
        if not ((parent := known.get(seen.parent)) and (parent.ns, parent.role) == seen.mark and parent.role in FORKING)
    ]


def marked_labs(table: Table, machine: int) -> set[str]:
    """The labs in the marks of root's processes outside of the machine's network."""
    marks = (seen.mark[0] for seen in table.values() if seen.root and seen.net != machine)
    return {lab for mark in marks if (lab := lab_of(mark))}
