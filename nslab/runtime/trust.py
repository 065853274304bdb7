"""Who is believed. Three questions, each with its rule:

- *Is this name a lab's?* An entry of a folder that root alone writes, which passes the pattern. What a process says is
  no name.
- *Is this process X?* What its starter wrote into the lab's journal before the process ran anything foreign, held
  against the kernel: number, start time, network namespace, and the number of its pidfd where the kernel gives each
  process one of its own (Linux 6.9). Then the pidfd is used, and not the number.
- *Must this process end with the lab?* Whoever is in the lab's network namespaces, control groups or journal, or
  descends from such; by its mark alone only root's, in our user namespace and not in the machine's network.

Containers run as uid 0 of the same user namespace, in the network namespaces of their pods: mark, owner and descent
prove nothing of who a process is. Imports little: the processes of a lab are forked from what imports this.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat

from nslab import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Any, Never, TypeAlias

    Table: TypeAlias = "Mapping[int, Seen]"

PROGRAMS = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ":/run/current-system/sw/bin:/run/current-system/profile/sbin:/run/current-system/profile/bin"
)
"""Where the programs are that run as root, whatever PATH its caller has: as sudo has it; then NixOS's, and Guix's."""
LAB = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A lab's name: it becomes part of paths."""
HOST = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,316}[a-z0-9])?")
TRAVELLING = ("node", "spawner")
"""Who goes into the namespace of a pod to fork what is to be born there. (Nobody changes his own pid namespace.)"""
ROLELESS = ("", "exec", "cni", "container")
"""Second words of a mark that claim nothing."""
FORKING = ("node", "spawner", "kube-proxy")
"""Who starts others; for a moment these bear the same mark."""
_KINDS = (
    ("pid", int),
    ("start", int),
    ("inode", int),
    ("net", int),
    ("pids", int),
    ("ns", str),
    ("role", str),
    ("more", dict),
)
_PID_MAX = 1 << 22


def lab_name(text: str) -> str:
    """The text, if it can be a lab's name; nothing if not."""
    return text if LAB.fullmatch(text) else ""


def lab_of(ns: str) -> str:
    """The lab of a namespace's name (nslab.LAB.HOST, or nslab.LAB. for the lab as such); nothing if it is none."""
    kind, _, rest = ns.partition(".")
    lab, dot, host = rest.partition(".")
    fits = kind == "nslab" and dot and LAB.fullmatch(lab) and (not host or HOST.fullmatch(host))
    return lab if fits else ""


class Started:
    """A process as its starter wrote it down. `more` is what its starter must know of it to take it over again.

    `start`: clock ticks since boot. `inode`: of its pidfd. `net`, `pids`: its network and pid namespaces' numbers.
    """

    __slots__ = ("inode", "more", "net", "ns", "pid", "pids", "role", "start")

    def __init__(
        self, pid: int, start: int, inode: int, net: int, pids: int, ns: str, role: str, more: dict[str, Any]
    ) -> None:
        self.pid, self.start, self.inode, self.net, self.pids = pid, start, inode, net, pids
        self.ns, self.role, self.more = ns, role, more

    def line(self) -> str:
        """The line of the journal."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}) + "\n"


def started(pid: int, ns: str, role: str, more: dict[str, Any]) -> Started:
    """A child of ours, or somebody we hold still, as it is now."""
    pidfd = os.pidfd_open(pid)
    try:
        net, pids = namespace(pid), namespace(pid, "pid")
        return Started(pid, start_of(pid), os.fstat(pidfd).st_ino, net, pids, ns, role, more)
    finally:
        os.close(pidfd)


def read(path: str) -> Iterator[Started]:
    """The lines of a journal that are whole; none if there is none."""
    try:
        # Root's own, and no link: nobody else could have put it there, and nobody is to have led us elsewhere.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
            return
        with open(file, "rb", closefd=False) as opened:
            yield from filter(None, map(_record, opened))
    finally:
        os.close(file)


def _record(line: bytes) -> Started | None:
    """A line of a journal; None if it is none: its writer was killed in the middle of it, or it is somebody else's."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(fields, dict) and {*fields} == {*Started.__slots__}
    if not fits or any(type(fields[name]) is not kind for name, kind in _KINDS):
        return None
    return Started(**fields) if 0 < fields["pid"] <= _PID_MAX and lab_of(fields["ns"]) else None


def verified(record: Started) -> int:
    """A pidfd of the process that was written down; ProcessLookupError if that one is no more."""
    pidfd = os.pidfd_open(record.pid)
    try:
        # Asked after the pidfd was opened: from then on the number cannot become another process's unnoticed.
        same = os.fstat(pidfd).st_ino == record.inode and start_of(record.pid) == record.start
        if same and namespace(record.pid, "pid") == record.pids and _stays(record, namespace(record.pid)):
            return pidfd
    except OSError:
        pass
    os.close(pidfd)
    raise ProcessLookupError(None, f"process {record.pid} is no longer {record.role} of {record.ns}")


def alive(path: str) -> list[tuple[Started, int]]:
    """Who of a journal is alive, with a pidfd of each."""
    found = []
    for record in read(path):
        with contextlib.suppress(OSError):
            found.append((record, verified(record)))
    return found


def start_of(pid: int) -> int:
    """When a process was started."""
    return int(_fields(pid)[19])


def namespace(pid: int, kind: str = "net") -> int:
    """The number of a process's namespace."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def _fields(pid: int) -> list[bytes]:
    """/proc/PID/stat after the name in parentheses, which may hold anything: state, parent, …"""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)


class Seen:
    """A process as anybody sees it. `mark`: its first two words; what a process says of itself, and may have forged.

    `root`: its effective user is 0 of our own user namespace.
    """

    __slots__ = ("mark", "name", "net", "parent", "pid", "root", "start", "state")

    def __init__(
        self, pid: int, start: int, parent: int, net: int, state: str, name: str, mark: tuple[str, str], root: bool
    ) -> None:
        self.pid, self.start, self.parent, self.net = pid, start, parent, net
        self.state, self.name, self.mark, self.root = state, name, mark, root


def journaled(records: Iterable[Started], table: Table) -> dict[int, Started]:
    """Who of the table is who, by the journal: the processes that are still those that were written down."""
    return {
        record.pid: record
        for record in records
        if (seen := table.get(record.pid)) and seen.start == record.start and _stays(record, seen.net)
    }


def _stays(record: Started, net: int) -> bool:
    """Whether a process is in the network namespace that was written down; some are in others for moments."""
    return net == record.net or (net != 0 and record.role in TRAVELLING)


def members(
    table: Table,
    inodes: Mapping[int, str],
    labs: Collection[str],
    known: Mapping[int, Started],
    machine: int,
    grouped: Mapping[int, str] | None = None,
) -> dict[int, str]:
    """Who must end with these labs: process number to the name of a namespace, as far as there is one.

    `inodes`: the labs' network namespaces and their names; `machine`: the machine's own, which is never a lab's;
    `grouped`: who is in the labs' control groups.
    """
    found = {pid: record.ns for pid, record in known.items()}
    found |= {pid: ns for pid, ns in (grouped or {}).items() if pid in table and pid not in found}
    for pid, seen in table.items():
        if seen.net in inodes and seen.net != machine:
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


def impostors(table: Table, of_lab: Mapping[int, str], known: Mapping[int, Started]) -> list[Seen]:
    """Who of a lab says that it plays a part, and was never given one.

    A new child of one who forks still bears the mark of its parent, who was given the part.
    """
    return [
        seen
        for pid in sorted(of_lab)
        if (seen := table.get(pid)) and pid not in known and seen.mark[1] not in ROLELESS and seen.state not in "ZX"
        if not ((parent := known.get(seen.parent)) and (parent.ns, parent.role) == seen.mark and parent.role in FORKING)
    ]


def marked_labs(table: Table, machine: int) -> set[str]:
    """The labs of which root's processes bear the marks, outside of the machine's network."""
    marks = (seen.mark[0] for seen in table.values() if seen.root and seen.net != machine)
    return {lab for mark in marks if (lab := lab_of(mark))}


def beneath(folder: int, name: str, flags: int = os.O_PATH | os.O_DIRECTORY) -> int:
    """A descriptor of what is called `name` in a folder, and never of what a link there leads to."""
    return syscall.openat2(folder, name, flags | os.O_CLOEXEC, syscall.RESOLVE_BENEATH | syscall.RESOLVE_NO_SYMLINKS)


def is_roots(descriptor: int) -> bool:
    """Whether root owns a folder, and nobody else can write in it."""
    status = os.fstat(descriptor)
    return status.st_uid == 0 and not status.st_mode & 0o022


class Births:
    """Starts processes, and writes each into a journal before it does anything of its own.

    The journal is one file that one process writes; who started it before may have left lines of others' in it.
    """

    def __init__(self, path: str, later: Callable[[Callable[[], None]], None] | None = None) -> None:
        """`later` calls what it is given in a moment: then all are written down who were started meanwhile."""
        self._path, self._later = path, later
        self._waiting: list[tuple[int, int, str, str, dict[str, Any], Callable[[int], None] | None]] = []
        self._known: dict[int, str] = {}
        self._lines = 0

    def adopt(self) -> list[tuple[Started, int]]:
        """Who of the journal is alive, with a pidfd of each; the others are forgotten."""
        found = alive(self._path)
        self._known = {record.pid: record.line() for record, _ in found}
        self._renew()
        return found

    def fork(
        self,
        ns: str,
        role: str,
        be: Callable[[], object],
        more: dict[str, Any] | None = None,
        born: AbstractContextManager[None] | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> int:
        """Start a child that will `be` somebody; its number. It ends should we be gone before it is written down.

        It is forked within `born`: in namespaces, say, that we leave again before we write. Before it goes on, `admit`
        is called with its number.
        """
        wait, go = os.pipe2(os.O_CLOEXEC)
        with born or contextlib.nullcontext():
            pid = os.fork()
            if pid == 0:
                _await(wait, go, be)
        os.close(wait)
        # Not here, if it can be helped: what is done between two forks is memory of each child.
        self._waiting.append((pid, go, ns, role, more or {}, admit))
        if not self._later:
            self.release()
        elif len(self._waiting) == 1:
            self._later(self.release)
        return pid

    def release(self) -> None:
        """Write down those who wait for it, and let them go on. One that cannot be written down ends."""
        waiting, self._waiting = self._waiting, []
        for pid, go, ns, role, more, admit in waiting:
            try:
                if admit:
                    admit(pid)
                self.write(started(pid, ns, role, more))
                os.write(go, b"+")
            except OSError as error:
                os.write(2, f"{role} of {ns}: {error.strerror}\n".encode())
            finally:
                os.close(go)

    def write(self, record: Started) -> None:
        """Write down somebody who waits for it."""
        line = record.line()
        self._append(self._path, line)
        self._known[record.pid] = line
        self._lines += 1

    def ended(self, pid: int) -> None:
        """Somebody is no more."""
        if self._known.pop(pid, "") and self._lines > 64 + 2 * len(self._known):
            self._renew()

    def _renew(self) -> None:
        new = f"{self._path}.new"
        try:
            os.unlink(new)
        except FileNotFoundError:
            pass
        except OSError:
            return
        try:
            self._append(new, "".join(self._known.values()))
            os.rename(new, self._path)
            self._lines = len(self._known)
        except OSError:
            return  # a full file system: the longer journal says the same

    def _append(self, path: str, text: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            data = text.encode()
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # half a line is no line
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)


def _await(wait: int, go: int, be: Callable[[], object]) -> Never:
    status = 1
    try:
        os.close(go)
        if os.read(wait, 1):
            os.close(wait)
            be()
            status = 0
    finally:
        os._exit(status)
