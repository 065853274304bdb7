"""What belongs to a lab: its folder, its names, its processes. All of it is found by name, none of it remembered."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nslab.errors import NslabError, Refused, words
from nslab.linux import procs
from nslab.linux.netns import IP_NETNS, RUN, folder, named, path
from nslab.syscall import MS_NODEV, MS_NOSUID, MS_PRIVATE, mount, umount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gone:
    """What `down` took away."""

    namespaces: int
    processes: int


@contextlib.contextmanager
def locked(lab: str, verb: str, busy: Callable[[str], None]) -> Iterator[None]:
    """One call at a time changes a lab. `busy` is told who is at it before this one waits."""
    descriptor = _lock(lab, busy)
    try:
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
            raise Refused(f"touch {_lock_path(lab)}", words(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy(os.pread(descriptor, 200, 0).decode() or "another nslab")
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
    try:
        os.makedirs(IP_NETNS, exist_ok=True)
        for place in (here, here / "ns"):
            os.makedirs(place, exist_ok=True)
            if not os.path.ismount(place):
                mount("nslab", str(place), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
                # Private: what is mounted inside must not be copied into every service's mount namespace.
                mount("", str(place), flags=MS_PRIVATE)
    except OSError as error:
        release(lab)
        raise Refused(f"mount -t tmpfs nslab {here}", words(error)) from error


def processes(lab: str) -> list[procs.Record]:
    """Everything that runs in the lab's namespaces, or bears its mark."""
    inodes = {}
    for ns in named(lab):
        with contextlib.suppress(FileNotFoundError):
            inodes[os.stat(path(ns)).st_ino] = ns
    return procs.processes(inodes, [lab])


def release(lab: str) -> Gone:
    """End what runs in the lab, then take its names and its folder away. Finding nothing is no error."""
    names, running = named(lab), processes(lab)
    left = procs.end(running, again=lambda: processes(lab))
    if left:
        raise NslabError(f"process {left[0].pid} ({left[0].name}) of lab {lab} does not end")
    here = folder(lab)
    for place in (here / "ns", here):
        _unmounted(place)
    _unlink_names(lab)
    return Gone(len(names), len(running))


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


def _unlink_names(lab: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(IP_NETNS):
            if entry.startswith(f"nslab.{lab}.") and (IP_NETNS / entry).is_symlink():
                (IP_NETNS / entry).unlink()
    with contextlib.suppress(OSError):  # it is not empty, or a mount of `ip netns`
        os.rmdir(IP_NETNS)
