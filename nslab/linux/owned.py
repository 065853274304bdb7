"""What belongs to a lab: its folder, its names, its processes. All of it is found by name, none of it remembered."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.errors import NslabError, Refused, UsageError, words
from nslab.linux import procs, stop
from nslab.linux.netns import IP_NETNS, RUN, entries, folder, labs, link_name, named, path, unlink_name
from nslab.syscall import MS_NODEV, MS_NOSUID, MS_PRIVATE, mount, umount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


OUR_NETNS = Path("/proc/self/ns/net")


@dataclass(frozen=True, slots=True)
class Gone:
    """What `down` took away; `refused`: what CNI plugins said against being asked to let go."""

    namespaces: int
    processes: int
    refused: tuple[str, ...] = ()


@contextlib.contextmanager
def locked(lab: str, verb: str, busy: Callable[[str], None]) -> Iterator[None]:
    """One call at a time changes a lab. `busy` is told who is at it before this one waits."""
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
            os.makedirs(RUN, exist_ok=True)
            descriptor = os.open(_lock_path(lab), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # somebody's last act was to remove the empty folder
        except OSError as error:
            with contextlib.suppress(OSError):
                os.rmdir(RUN)
            raise Refused(f"touch {_lock_path(lab)}", words(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy(os.pread(descriptor, 200, 0).decode() or "another nslab")
            with stop.heeded():
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
    here = folder(lab)
    if exists(lab) and not named(lab):
        procs.end(processes(lab))  # somebody unmounted the names by hand; nothing leads to these any more
    try:
        os.makedirs(IP_NETNS, exist_ok=True)
        for place in (here, here / "ns"):
            os.makedirs(place, exist_ok=True)
            if not os.path.ismount(place):
                mount("nslab", str(place), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
                # Private: what is mounted inside must not be copied into every service's mount namespace.
                mount("", str(place), flags=MS_PRIVATE)
        for ns in named(lab):
            link_name(ns)
    except OSError as error:
        if not named(lab):
            release(lab)
        raise Refused(f"mount -t tmpfs nslab {here}", words(error)) from error


def processes(lab: str) -> list[procs.Record]:
    """Everything that runs in the lab's namespaces, or bears its mark."""
    return procs.processes(inodes(lab), [lab])


def inodes(lab: str) -> dict[int, str]:
    """The lab's namespaces, but for our own: the kernel's number for each, and its name."""
    places = (*map(path, named(lab)), *(IP_NETNS / ns for ns in _listed(lab)))
    found = {number: place.name for place in places if (number := _inode(place))}
    # Whatever name somebody gave it, the machine's own namespace is never the lab's.
    found.pop(_inode(OUR_NETNS), None)
    return found


def _inode(place: Path) -> int:
    try:
        return os.stat(place).st_ino
    except FileNotFoundError:
        return 0


def vacate(left: Mapping[int, str]) -> None:
    """End what still runs in namespaces that lost their names: a shell in a pod that is no more."""
    if left:
        procs.end([record for record in procs.processes(left) if record.ns in left.values()])


def everywhere() -> list[str]:
    """All labs that anything is left of: a folder, a lock, a name, a process."""
    names = {ns.split(".")[1] for ns in entries(IP_NETNS) if ns.startswith("nslab.") and ns.count(".") == 2}
    locks = {name.removesuffix(".lock") for name in entries(RUN) if name.endswith(".lock")}
    return sorted({*labs(), *names, *locks, *procs.marked_labs()})


def release(lab: str) -> Gone:
    """End what runs in the lab, then take its names and its folder away. Finding nothing is no error."""
    names, running = named(lab), processes(lab)
    if any(_inode(path(ns)) == _inode(OUR_NETNS) for ns in names):
        raise UsageError(f"this runs inside lab {lab}; leave it first")
    left = procs.end(running, again=lambda: processes(lab))
    if left:
        raise NslabError(f"process {left[0].pid} ({left[0].name}) of lab {lab} does not end")
    here = folder(lab)
    for place in (here / "ns", here):
        _unmounted(place)
    for ns in _listed(lab):
        unlink_name(ns)
    with contextlib.suppress(OSError):  # it is not empty, or a mount of `ip netns`
        os.rmdir(IP_NETNS)
    return Gone(len(names), len(running))


def _listed(lab: str) -> list[str]:
    """What `ip netns` lists of a lab."""
    return [entry for entry in entries(IP_NETNS) if entry.startswith(f"nslab.{lab}.")]


def _unmounted(place: Path) -> None:
    """Lazily, and as often as it is mounted: the names go at once, what holds them open does not matter."""
    try:
        while os.path.ismount(place):
            umount(str(place))
        _empty(place)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise NslabError(f"{place} holds files that are not nslab's; remove it by hand") from error
        raise Refused(f"umount -l {place}", words(error)) from error


def _empty(place: Path) -> None:
    """What an `up` that was killed between mkdir and mount has left on the disk below."""
    for entry in os.listdir(place):
        if (place / entry).is_file():
            (place / entry).unlink()
    os.rmdir(place)
