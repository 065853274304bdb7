"""The system calls that Python's `os` lacks (setns and unshare came with 3.12; mount never did).

Each raises OSError as `os` would. Imports nothing but ctypes: pods' pause processes are forked from what imports this.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def setns(fd: int, kind: int = 0) -> None:
    """Move this thread into the namespace that `fd` is open on; `kind` (CLONE_NEW…) is checked if not 0."""
    _check(_libc.setns(fd, kind), "setns")


def unshare(kinds: int) -> None:
    """Give this thread namespaces of its own, of the CLONE_NEW… kinds."""
    _check(_libc.unshare(kinds), "unshare")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(fstype) or None)
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2); lazily unless told otherwise: names go at once, the rest when its last user does."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    four = (*arguments, 0, 0, 0, 0)[:4]
    return _check(_libc.prctl(option, *map(ctypes.c_ulong, four)), f"prctl {option}")
