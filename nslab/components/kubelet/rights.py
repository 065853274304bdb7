"""Rights of containers: a process drops to what container runtimes leave before it runs foreign code."""

from __future__ import annotations

import contextlib
import errno
from functools import lru_cache

from nslab import syscall
from nslab.components.kubelet import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
"""The default capabilities of container runtimes."""
SETPCAP, SYS_RESOURCE = 8, 24
MASK = sum(1 << number for number in CAPABILITIES.values())
NOFILE = 1 << 20
"""Open files, as in containerd's systemd unit (LimitNOFILE=infinity means fs.nr_open, which is this)."""
NO_CORE = 1
"""Bytes of a core file: too few for one. With 0 the kernel would still start a program in core_pattern."""
FILTER = seccomp.load()
"""Read on import in the first process of a lab; its forks need no file."""


class Rights:
    """The rights of one container, prepared before the fork, so that `drop` opens no file and touches little memory.

    `uid`, `gid`, `groups`: the credentials. `mask`: the bounding set, as bits; only root starts with these
    capabilities, as with runc. `nofile`: the limit of open files. `own`: descriptors that its user gets by chown, as
    runc does with stdout and stderr, so that it can open them by name.
    """

    __slots__ = ("_calls", "_keyring")

    def __init__(
        self,
        uid: int = 0,
        gid: int = 0,
        groups: tuple[int, ...] = (),
        mask: int = MASK,
        nofile: int = NOFILE,
        own: tuple[int, ...] = (),
    ) -> None:
        permitted = syscall.permitted()
        # Inside a container, nslab may lack some of them.
        kept = mask & permitted if uid == 0 else 0
        self._keyring = syscall.ready_join_session_keyring()
        self._calls = (
            syscall.ready_setrlimit(syscall.RLIMIT_NOFILE, _allowed(nofile, permitted)),
            syscall.ready_setrlimit(syscall.RLIMIT_CORE, _core(permitted)),
            *_bounding(mask),
            *(syscall.Ready("fchown", fd, uid, -1) for fd in own if uid),
            syscall.ready_setgroups(groups),
            syscall.Ready("setresgid", gid, gid, gid),
            syscall.Ready("setresuid", uid, uid, uid),
            syscall.ready_capset(kept),
            syscall.ready_prctl(syscall.PR_CAP_AMBIENT, syscall.PR_CAP_AMBIENT_CLEAR_ALL),
            syscall.Ready("umask", 0o022),
            syscall.ready_prctl(syscall.PR_SET_NO_NEW_PRIVS, 1),
            *((FILTER.install,) if FILTER else ()),
        )

    def drop(self) -> None:
        """Drop all other rights of this process. Each step needs rights that a later one drops.

        1. A new session keyring: the inherited one is that of root on the machine, and the filter refuses keyctl.
        2. Limits: open files; no core files, and no core handler of the machine's, which runs as root (with a limit of
           0, set here or inherited, the kernel would still start the handler).
        3. Bounding set: no executable file can add other capabilities. Needs SETPCAP.
        4. Ownership of its streams; groups, group, user. A user other than root loses all capabilities by that.
        5. Capabilities: permitted and effective ones; none is inheritable or ambient.
        6. umask. no_new_privs, which the filter requires.
        7. The seccomp filter.
        """
        if self._keyring:
            _join(self._keyring)
        for call in self._calls:
            call()


def of(security: Sequence[Any]) -> Rights:
    """The rights for the fields of nslab.objects.container.Security."""
    uid, gid, groups, dropped, _ = security
    mask = MASK - sum(1 << CAPABILITIES[name] for name in dropped)
    return Rights(uid, gid, tuple(groups), mask, own=(1, 2))


def drop(uid: int = 0, gid: int = 0, groups: tuple[int, ...] = (), mask: int = MASK, nofile: int = NOFILE) -> None:
    """Prepare rights and drop all others at once."""
    Rights(uid, gid, groups, mask, nofile).drop()


def _join(keyring: syscall.Ready) -> None:
    try:
        keyring()
    except OSError as error:
        # A kernel without keyrings; or a seccomp filter on nslab itself, which then holds for this process, too.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise


def _allowed(nofile: int, permitted: int) -> int:
    """The limit of open files: `nofile`, or as much of it as this process may set."""
    hard = syscall.hard_limit(syscall.RLIMIT_NOFILE)
    return min(nofile, max(hard, _most_files()) if permitted >> SYS_RESOURCE & 1 else hard)


def _core(permitted: int) -> int:
    """NO_CORE, or the hard limit if that is lower (sudo sets it to 0) and cannot be raised."""
    return NO_CORE if permitted >> SYS_RESOURCE & 1 else min(NO_CORE, syscall.hard_limit(syscall.RLIMIT_CORE))


@lru_cache(1)
def _most_files() -> int:
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        return int(file.read())


@lru_cache(8)
def _bounding(mask: int) -> tuple[syscall.Ready, ...]:
    """Calls that drop all other capabilities from the bounding set; none without SETPCAP (no_new_privs holds)."""
    if not syscall.permitted() >> SETPCAP & 1:
        return ()
    return tuple(syscall.ready_prctl(syscall.PR_CAPBSET_DROP, bit) for bit in _known() if not mask >> bit & 1)


@lru_cache(1)
def _known() -> tuple[int, ...]:
    """The capabilities that this kernel has."""
    known: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            syscall.prctl(syscall.PR_CAPBSET_READ, len(known))
            known.append(len(known))
    return tuple(known)
