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

SPLICE_F_NONBLOCK = 2


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


def tee(source: int, to: int, count: int) -> int:
    """tee(2), between two pipes, without waiting for either: how many bytes stand in `to` now and in `source` still."""
    return _check(_libc.tee(source, to, ctypes.c_size_t(count), SPLICE_F_NONBLOCK), "tee")


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    four = (*arguments, 0, 0, 0, 0)[:4]
    return _check(_libc.prctl(option, *map(ctypes.c_ulong, four)), f"prctl {option}")


PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = 0o2000000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NODEV = 4

# These numbers are the same on every architecture: system calls since 2019 are numbered together.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_MOUNT_SETATTR = 442
_CAPABILITY_VERSION_3 = 0x20080522


def open_tree(path: str, recursive: bool = False) -> int:
    """A copy of the mount at `path` that lies nowhere yet (since 5.2): it can be carried into other namespaces."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _check(_libc.syscall(ctypes.c_long(_OPEN_TREE), AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags)), path)


def move_mount(fd: int, target: str) -> None:
    """Put the mount that `fd` is open on (see `open_tree`) at `target`."""
    flags = ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)
    _check(_libc.syscall(ctypes.c_long(_MOVE_MOUNT), fd, b"", AT_FDCWD, os.fsencode(target), flags), target)


def mount_setattr(path: str, attributes: int, recursive: bool = False) -> None:
    """Set MOUNT_ATTR_… on the mount at `path` and perhaps on all below it (since 5.12; ENOSYS before)."""
    structure = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)  # set, clear, propagation, user namespace
    flags = ctypes.c_uint(AT_RECURSIVE if recursive else 0)
    size = ctypes.c_size_t(ctypes.sizeof(structure))
    numbers = (ctypes.c_long(_MOUNT_SETATTR), AT_FDCWD, os.fsencode(path), flags, structure, size)
    _check(_libc.syscall(*numbers), path)


def capset(mask: int) -> None:
    """Make bit mask `mask` this thread's permitted and effective capabilities; inheritable ones: none."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    # Two records of effective, permitted, inheritable: bits 0 to 31, then the rest.
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "capset")
