"""Trust. Two questions, each with its rule:

- *Is this name a lab's?* If it matches the pattern and is an entry of a folder that only root can write to. A name
  that a process claims does not count.
- *Is this process X?* If the kernel agrees with the entry in the lab's journal, which its starter wrote before the
  process ran foreign code: pid, start time, network namespace, and the inode of its pidfd, which is unique since
  Linux 6.9. From then on nslab uses the pidfd instead of the pid.

A third one, whether a process must end with a lab, is nslab.runtime.membership's.

Containers run as uid 0 of the same user namespace, in the network namespaces of their pods: mark, owner and descent
do not prove the identity of a process. This module imports little, because a lab's processes are forks of its importer.
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
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, Never

PROGRAMS = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ":/run/current-system/sw/bin:/run/current-system/profile/sbin:/run/current-system/profile/bin"
)
"""The PATH of programs that run as root, whatever the caller's: sudo's, then NixOS's and Guix's."""
LAB = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A lab's name: it becomes part of paths."""
HOST = re.compile(r"[a-z0-9](?:(?:[a-z0-9_-]|\.(?=[a-z0-9])){0,316}[a-z0-9])?")
"""A host's: no two dots follow each other."""
TRAVELLING = ("node", "spawner")
"""Roles that enter other network namespaces to fork there. (setns never changes a process's own pid namespace.)"""
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
    """The text if it is a valid name of a lab, else ""."""
    return text if LAB.fullmatch(text) else ""


def lab_of(ns: str) -> str:
    """The lab in a namespace's name (nslab.LAB.HOST, or nslab.LAB. for the whole lab); "" for any other name."""
    kind, _, rest = ns.partition(".")
    lab, dot, host = rest.partition(".")
    fits = kind == "nslab" and dot and LAB.fullmatch(lab) and (not host or HOST.fullmatch(host))
    return lab if fits else ""


class Started:
    """A process's entry in the journal. `more`: what the next starter needs to adopt it.

    `start`: clock ticks since boot. `inode`: of its pidfd. `net`, `pids`: inodes of its network and pid namespaces.
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
    """The entry of a process, which must be a child of ours or stopped by us, so that its pid is not reused."""
    pidfd = os.pidfd_open(pid)
    try:
        net, pids = namespace(pid), namespace(pid, "pid")
        return Started(pid, start_of(pid), os.fstat(pidfd).st_ino, net, pids, ns, role, more)
    finally:
        os.close(pidfd)


def read(path: str) -> Iterator[Started]:
    """Yield the valid entries of a journal; none if it does not exist."""
    try:
        # Root's own file and no symlink, so that nobody else can have written it or led us elsewhere.
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
    """Parse a line of a journal; None if it is incomplete (its writer was killed) or malformed."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(fields, dict) and {*fields} == {*Started.__slots__}
    if not fits or any(type(fields[name]) is not kind for name, kind in _KINDS):
        return None
    return Started(**fields) if 0 < fields["pid"] <= _PID_MAX and lab_of(fields["ns"]) else None


def verified(record: Started) -> int:
    """A pidfd of the process of an entry; ProcessLookupError if it has ended."""
    pidfd = os.pidfd_open(record.pid)
    try:
        # Checked after pidfd_open: a pidfd never refers to another process that reuses the pid.
        same = os.fstat(pidfd).st_ino == record.inode and start_of(record.pid) == record.start
        if same and namespace(record.pid, "pid") == record.pids and stays(record, namespace(record.pid)):
            return pidfd
    except OSError:
        pass
    os.close(pidfd)
    raise ProcessLookupError(None, f"process {record.pid} is no longer {record.role} of {record.ns}")


def alive(path: str) -> list[tuple[Started, int]]:
    """The entries of a journal whose processes are alive, with a pidfd of each."""
    found = []
    for record in read(path):
        with contextlib.suppress(OSError):
            found.append((record, verified(record)))
    return found


def start_of(pid: int) -> int:
    """The start time of a process, in clock ticks since boot."""
    return int(_fields(pid)[19])


def namespace(pid: int, kind: str = "net") -> int:
    """The inode of a process's namespace."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def _fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name in parentheses, which may contain anything: state, parent, …"""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)


def stays(record: Started, net: int) -> bool:
    """Whether a process is in the network namespace of its entry; some roles visit others for moments."""
    return net == record.net or (net != 0 and record.role in TRAVELLING)


def beneath(folder: int, name: str, flags: int = os.O_PATH | os.O_DIRECTORY) -> int:
    """Open `name` in a folder without following symlinks; returns a descriptor."""
    return syscall.openat2(folder, name, flags | os.O_CLOEXEC, syscall.RESOLVE_BENEATH | syscall.RESOLVE_NO_SYMLINKS)


def is_roots(descriptor: int) -> bool:
    """Whether root owns a folder, and nobody else can write to it."""
    status = os.fstat(descriptor)
    return status.st_uid == 0 and not status.st_mode & 0o022


class Births:
    """Starts processes, and writes each into a journal before it runs any code of its own.

    One process writes the journal; it may contain entries of an earlier writer.
    """

    def __init__(self, path: str, later: Callable[[Callable[[], None]], None] | None = None) -> None:
        """`later` calls its argument soon after; the processes started until then are written together."""
        self._path, self._later = path, later
        self._waiting: list[tuple[int, int, str, str, dict[str, Any], Callable[[int], None] | None]] = []
        self._known: dict[int, str] = {}
        self._lines = 0

    def adopt(self) -> list[tuple[Started, int]]:
        """Return the live entries of the journal, with a pidfd of each, and drop the others."""
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
        around: AbstractContextManager[None] | None = None,
        admit: Callable[[int], None] | None = None,
    ) -> int:
        """Fork a child that will call `be`; return its pid. It ends if this process dies before its entry is written.

        `around`: a context around the fork, such as a visit to other namespaces. `admit` is called with the pid before
        the child continues.
        """
        wait, go = os.pipe2(os.O_CLOEXEC)
        with around or contextlib.nullcontext():
            pid = os.fork()
            if pid == 0:
                _await(wait, go, be)
        os.close(wait)
        # Not written here: what this process does between two forks takes memory in each child.
        self._waiting.append((pid, go, ns, role, more or {}, admit))
        if not self._later:
            self.release()
        elif len(self._waiting) == 1:
            self._later(self.release)
        return pid

    def release(self) -> None:
        """Write the waiting children's entries and let them continue. A child whose entry cannot be written ends."""
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
        """Write an entry."""
        line = record.line()
        self._append(self._path, line)
        self._known[record.pid] = line
        self._lines += 1

    def ended(self, pid: int) -> None:
        """Forget a process that has ended."""
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
            return  # a full file system: the longer journal is equivalent

    def _append(self, path: str, text: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            data = text.encode()
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a partial line is not an entry
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
