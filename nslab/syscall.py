"""System calls that Python's `os` lacks (setns and unshare came with 3.12; mount is still missing).

Each raises OSError, like `os`. It imports only ctypes and os: pods' pause processes are forked from its importers.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)
# What ctypes makes at its first use would be each node's own memory; what exists before their forks is shared.
for _name in ("capset", "getrlimit", "mount", "prctl", "setgroups", "setns", "setrlimit", "sigprocmask", "socketpair",
              "syscall", "unshare"):  # fmt: skip
    getattr(_libc, _name)
_ZERO = ctypes.c_ulong(0)
_Ints2, _Long32 = ctypes.c_int * 2, ctypes.c_long * 32
# _Words0: no groups; ctypes forgets a type that nobody holds.
_Words0, _Words2, _Words6 = ctypes.c_uint32 * 0, ctypes.c_uint32 * 2, ctypes.c_uint32 * 6
_Quads2, _Quads3, _Quads4, _Quads16 = (ctypes.c_uint64 * count for count in (2, 3, 4, 16))

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

SPLICE_F_NONBLOCK = 2


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


class Ready:
    """A libc call with arguments prepared before a fork, so that the call in the child needs almost no memory.

    An argument is a ctypes object or a C int. Ready keeps the objects that arguments point to alive.
    """

    __slots__ = ("_arguments", "_function", "_name")

    def __init__(self, name: str, *arguments: object) -> None:
        self._function, self._arguments, self._name = getattr(_libc, name), arguments, name

    def __call__(self) -> int:
        return _check(self._function(*self._arguments), self._name)


def setns(fd: int, kind: int = 0) -> None:
    """Move this thread into the namespace of `fd`; the kernel checks `kind` (CLONE_NEW…) if it is not 0."""
    _check(_libc.setns(fd, kind), "setns")


def unshare(kinds: int) -> None:
    """Move this thread into new namespaces of the CLONE_NEW… kinds."""
    _check(_libc.unshare(kinds), "unshare")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(fstype) or None)
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), lazy by default: the mount disappears at once, and is freed after its last user."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def tee(source: int, to: int, count: int) -> int:
    """tee(2) between two pipes, without blocking; returns the number of bytes copied, which `source` keeps."""
    return _check(_libc.tee(source, to, ctypes.c_size_t(count), SPLICE_F_NONBLOCK), "tee")


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    four = (*arguments, 0, 0, 0, 0)[:4]
    return _check(_libc.prctl(option, *map(ctypes.c_ulong, four)), f"prctl {option}")


def ready_prctl(option: int, *arguments: int) -> Ready:
    """prctl(2), for a later call."""
    four = (*map(ctypes.c_ulong, arguments), _ZERO, _ZERO, _ZERO, _ZERO)[:4]
    return Ready("prctl", option, *four)


PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
RLIMIT_CORE = 4
RLIMIT_NOFILE = 7

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = 0o2000000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8
RESOLVE_NO_SYMLINKS = 4
RESOLVE_BENEATH = 8

# These numbers are the same on every architecture, like those of all system calls since 2019.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_OPENAT2 = 437
_PIDFD_GETFD = 438
_MOUNT_SETATTR = 442
_PIVOT_ROOT = 155 if os.uname().machine == "x86_64" else 41
_CAPABILITY_VERSION_3 = 0x20080522
# Older ones differ.
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1


def open_tree(path: str, recursive: bool = False) -> int:
    """A detached copy of the mount at `path` (since 5.2), which can be attached in another namespace."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _check(_libc.syscall(ctypes.c_long(_OPEN_TREE), AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags)), path)


def copy_mount(fd: int) -> int:
    """The same of what `fd` is open on, a file or a folder, without what is mounted below."""
    flags = ctypes.c_uint(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)
    return _check(_libc.syscall(ctypes.c_long(_OPEN_TREE), fd, b"", flags), "open_tree")


def seal(fd: int, attributes: int) -> None:
    """Set MOUNT_ATTR_… on a mount from `open_tree`, and on all below it (since 5.12; ENOSYS before)."""
    _mount_setattr(fd, "", attributes, AT_RECURSIVE | AT_EMPTY_PATH)


def openat2(folder: int, name: str, flags: int, resolve: int) -> int:
    """Open a name in a folder with the restrictions RESOLVE_… (since 5.6)."""
    how = _Quads3(flags, 0, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _check(_libc.syscall(ctypes.c_long(_OPENAT2), folder, os.fsencode(name), how, size), name)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A duplicate of another process's descriptor `number` (since 5.6); requires permission to ptrace it."""
    return _check(_libc.syscall(ctypes.c_long(_PIDFD_GETFD), pidfd, number, ctypes.c_uint(0)), "pidfd_getfd")


def ready_socketpair(family: int, kind: int) -> tuple[Ready, ctypes.Array[ctypes.c_int]]:
    """socketpair(2), and the array for its two descriptors; Python's own would allocate objects between two forks."""
    pair = _Ints2()
    return Ready("socketpair", int(family), int(kind), 0, pair), pair


def ready_sigmask(how: int, signals: Iterable[int]) -> Ready:
    """sigprocmask(2): SIG_BLOCK or SIG_UNBLOCK these signals; Python's own allocates enum members for the old mask."""
    bits = sum(1 << (number - 1) for number in signals)
    return Ready("sigprocmask", int(how), _Quads16(bits), None)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2): make the mount at `new` the root, and move the old root to `old`."""
    _check(_libc.syscall(ctypes.c_long(_PIVOT_ROOT), os.fsencode(new), os.fsencode(old)), f"pivot_root {new}")


NSFS = 0x6E736673
"""The f_type of nsfs (statfs(2))."""


def file_system(fd: int) -> int:
    """The f_type of a descriptor's file system."""
    # struct statfs begins with f_type, a long on every supported architecture; it fits into 256 bytes.
    found = _Long32()
    _check(_libc.fstatfs(fd, found), "fstatfs")
    return int(found[0])


def move_mount(fd: int, target: str) -> None:
    """Attach the detached mount of `fd` (see `open_tree`) at `target`."""
    flags = ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH)
    _check(_libc.syscall(ctypes.c_long(_MOVE_MOUNT), fd, b"", AT_FDCWD, os.fsencode(target), flags), target)


def mount_setattr(path: str, attributes: int, recursive: bool = False) -> None:
    """Set MOUNT_ATTR_… on the mount at `path`, and (`recursive`) on all below it (since 5.12; ENOSYS before)."""
    _mount_setattr(AT_FDCWD, path, attributes, AT_RECURSIVE if recursive else 0)


def _mount_setattr(fd: int, path: str, attributes: int, flags: int) -> None:
    structure = _Quads4(attributes, 0, 0, 0)  # set, clear, propagation, user namespace
    size = ctypes.c_size_t(ctypes.sizeof(structure))
    numbers = (ctypes.c_long(_MOUNT_SETATTR), fd, os.fsencode(path), ctypes.c_uint(flags), structure, size)
    _check(_libc.syscall(*numbers), path)


def ready_capset(mask: int) -> Ready:
    """capset(2), for a later call: `mask` is the thread's permitted and effective set; its inheritable set is empty."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    # Two records of effective, permitted, inheritable: bits 0 to 31, then the rest.
    return Ready("capset", _capability_header(), _Words6(low, low, 0, high, high, 0))


def capset(mask: int) -> None:
    """Set this thread's permitted and effective capabilities to `mask`."""
    ready_capset(mask)()


def permitted() -> int:
    """This thread's permitted capabilities as a bit mask."""
    records = _Words6()
    _check(_libc.capget(_capability_header(), records), "capget")
    return records[1] | records[4] << 32


def _capability_header() -> ctypes.Array[ctypes.c_uint32]:
    return _Words2(_CAPABILITY_VERSION_3, 0)


def ready_setrlimit(resource: int, limit: int) -> Ready:
    """setrlimit(2) of both limits, for a later call. RLIMIT_… are the same on all architectures with filters here."""
    return Ready("setrlimit", resource, _Quads2(limit, limit))


def hard_limit(resource: int) -> int:
    """The hard limit of RLIMIT_…."""
    limits = _Quads2()
    _check(_libc.getrlimit(resource, limits), "getrlimit")
    return limits[1]


def ready_setgroups(groups: tuple[int, ...]) -> Ready:
    """setgroups(2), for a later call."""
    return Ready("setgroups", ctypes.c_size_t(len(groups)), (ctypes.c_uint32 * len(groups))(*groups))


def ready_join_session_keyring() -> Ready | None:
    """Joins a new, empty session keyring, for a later call; None on an architecture with an unknown number."""
    number = _KEYCTL.get(os.uname().machine)
    return Ready("syscall", ctypes.c_long(number), _KEYCTL_JOIN_SESSION_KEYRING, None) if number else None
