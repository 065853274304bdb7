"""Named network namespaces, and how this thread enters and leaves them."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.errors import Missing, NslabError
from nslab.objects.names import netns
from nslab.runtime.trust import is_roots, lab_name
from nslab.syscall import (
    CLONE_NEWNET,
    MNT_DETACH,
    MS_BIND,
    NSFS,
    UMOUNT_NOFOLLOW,
    file_system,
    mount,
    setns,
    umount,
    unshare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

RUN = Path(rundir.ROOT)
"""The folder of all labs; each lab has a folder (a tmpfs) in it."""
FILES = 256
"""The least limit of open files that nslab accepts: the process of a node with some dozen pods needs as many."""
IP_NETNS = Path("/run/netns")
"""Where `ip netns` looks for names."""
_SELF = "/proc/thread-self/ns/net"


def folder(lab: str) -> Path:
    """The folder of a lab."""
    return RUN / lab


def lab_of(ns: str) -> str:
    """The lab in a namespace's name."""
    return ns.split(".")[1]


def path(ns: str) -> Path:
    """Where a lab's namespace is bound: in a tmpfs for the lab's names, so that one lazy umount removes them all."""
    return folder(lab_of(ns)) / rundir.NAMES / ns


class Namespaces:
    """Opens descriptors and sockets of namespaces once; on exit, returns this thread home and closes them."""

    def __init__(self) -> None:
        self._home = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        self._here = ""
        self._descriptors: dict[str, int] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._limit = _enough() // 3
        _outside()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.home()
        for sock in self._sockets.values():
            sock.close()
        for descriptor in (*self._descriptors.values(), self._home):
            os.close(descriptor)

    def create(self, ns: str) -> None:
        """Create a namespace, name it, and leave this thread in it. FileExistsError if the name is taken."""
        name = path(ns)
        if _is_namespace(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(name))
        os.close(os.open(name, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        try:
            unshare(CLONE_NEWNET)
            self._here = ns
            mount(_SELF, str(name), flags=MS_BIND)
            unlink_name(ns)
            link_name(ns)
        except OSError:
            self.remove(ns)
            raise

    def remove(self, ns: str) -> None:
        """Remove the name; the kernel frees the namespace when its last process ends."""
        self.forget(ns)
        with contextlib.suppress(OSError):  # already unmounted
            umount(str(path(ns)), MNT_DETACH | UMOUNT_NOFOLLOW)
        path(ns).unlink(missing_ok=True)
        (IP_NETNS / ns).unlink(missing_ok=True)

    def forget(self, ns: str) -> None:
        """Close the descriptor and the socket of a namespace."""
        if self._here == ns:
            self.home()
        if ns in self._sockets:
            self._sockets.pop(ns).close()
        if ns in self._descriptors:
            os.close(self._descriptors.pop(ns))

    def descriptor(self, ns: str) -> int:
        """An open descriptor of the namespace, by its name."""
        if ns not in self._descriptors:
            if len(self._descriptors) >= self._limit:
                self.forget(next(name for name in self._descriptors if name != self._here))
            self._descriptors[ns] = self._open(ns)
        return self._descriptors[ns]

    def _open(self, ns: str) -> int:
        descriptor = os.open(path(ns), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(descriptor).st_ino != _outside():
            return descriptor
        os.close(descriptor)
        raise NslabError(f"{path(ns)} is nslab's own network namespace, and not a lab's; unmount it by hand")

    def route_socket(self, ns: str) -> socket.socket:
        """An rtnetlink socket, bound to the namespace wherever this thread goes later."""
        if ns not in self._sockets:
            self.enter(ns)
            self._sockets[ns] = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        return self._sockets[ns]

    def enter(self, ns: str) -> None:
        """Move this thread into the namespace."""
        if self._here != ns:
            setns(self.descriptor(ns), CLONE_NEWNET)
            self._here = ns

    @contextlib.contextmanager
    def throwaway(self) -> Iterator[socket.socket]:
        """Move this thread into a new namespace without a name and yield an rtnetlink socket of it."""
        unshare(CLONE_NEWNET)
        self._here = "?"
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
                yield sock
        finally:
            self.home()

    def home(self) -> None:
        """Move this thread back to the namespace in which it started."""
        if self._here:
            setns(self._home, CLONE_NEWNET)
            self._here = ""


@cache
def _outside() -> int:
    """The inode of the network namespace in which this process started; it may be in a lab's by now."""
    return os.stat(_SELF).st_ino


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return it. Nodes inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def _enough() -> int:
    """Like `raise_limit`, but Missing if it is too low for a lab (a descriptor and a socket per namespace)."""
    if (files := raise_limit()) < FILES:
        raise Missing(
            f"only {files} files may be open at a time here, and a lab needs {FILES}: raise the limit (ulimit -Hn)"
        )
    return files


def link_name(ns: str) -> None:
    """Make a namespace visible to `ip netns`, unless it is."""
    with contextlib.suppress(FileExistsError):
        try:
            os.symlink(path(ns), IP_NETNS / ns)
        except FileNotFoundError:  # another lab just removed its last name, and the empty folder with it
            public_folder(IP_NETNS)
            os.symlink(path(ns), IP_NETNS / ns)


def unlink_name(ns: str) -> None:
    """Remove a name from `ip netns`: nslab's link, or a namespace that somebody bound there by hand."""
    link = IP_NETNS / ns
    if not link.is_symlink():
        with contextlib.suppress(OSError):
            umount(str(link), MNT_DETACH | UMOUNT_NOFOLLOW)
    link.unlink(missing_ok=True)


def identities(lab: str) -> tuple[tuple[str, int], ...]:
    """A lab's named namespaces, each with what tells it from another of the same name."""
    return tuple((ns, os.stat(path(ns)).st_ino) for ns in named(lab))


def named(lab: str) -> list[str]:
    """The names of the lab's namespaces."""
    here = folder(lab) / rundir.NAMES
    return [entry for entry in entries(here) if entry.startswith(netns(lab, "")) and _is_namespace(here / entry)]


def inode(ns: str) -> int:
    """The inode of a lab's namespace, by its name; 0 if there is none."""
    with contextlib.suppress(OSError):
        return os.lstat(path(ns)).st_ino
    return 0


def _is_namespace(name: Path) -> bool:
    """Whether a namespace is bound there. (`ip netns del` follows nslab's link, unmounts, and leaves an empty file.)"""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return file_system(descriptor) == NSFS
        finally:
            os.close(descriptor)
    return False


def listed() -> list[str]:
    """What `ip netns` lists, if only root can have put it there."""
    with contextlib.suppress(OSError):
        place = os.open(IP_NETNS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return sorted(os.listdir(place)) if is_roots(place) else []
        finally:
            os.close(place)
    return []


def bound() -> list[str]:
    """The namespaces that are bound where `ip netns` lists them, without nslab's links."""
    return [ns for ns in listed() if _is_namespace(IP_NETNS / ns)]


def entries(place: Path) -> list[str]:
    """The names in a folder; none if it does not exist or is not readable."""
    try:
        return sorted(os.listdir(place))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Create files that only their owner can read, whatever the caller's umask."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def public_folder(place: Path) -> None:
    """Create a folder, unless it exists: everybody may list it, only root may write to it."""
    umask = os.umask(0o022)
    try:
        with contextlib.suppress(FileExistsError):
            os.makedirs(place)
    finally:
        os.umask(umask)


def labs() -> Iterator[str]:
    """The labs that have a folder (the lock beside it ends in `.lock`, which a lab's name cannot)."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        here = sorted(entry.name for entry in os.scandir(RUN) if entry.is_dir(follow_symlinks=False))
        yield from filter(lab_name, here)
