"""What a process gives up before it runs anything foreign; what it is left with is what container runtimes leave."""

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
"""What container runtimes leave."""
SETPCAP, SYS_RESOURCE = 8, 24
MASK = sum(1 << number for number in CAPABILITIES.values())
NOFILE = 1 << 20
"""Open files, as systemd's unit of containerd allows them (LimitNOFILE=infinity is fs.nr_open, which is this)."""
NO_CORE = 1
"""Bytes of a core file: too few for one. With 0 the kernel still starts the program that core_pattern may name."""
FILTER = seccomp.load()
"""Read when the first process of a lab imports this; those forked from it need no file for it."""


class Rights:
    """The rights of one container, made ready before its process is forked: to `drop` opens no file, and costs little.

    `uid`, `gid`, `groups`: whom it runs as. `mask`: the capabilities that it may have at most, bit by bit; only root
    has them at once, as with runc. `nofile`: how many files it may have open. `own`: descriptors that become its
    user's, as runc gives it stdout and stderr, which it may open again by name.
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
        # A machine that is a container itself may lack some of them.
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
        """Leave this process no more. Each step needs rights that a later one takes.

        1. A session keyring of its own: the one that it has is that of root on the machine, and the filter refuses
           keyctl.
        2. Limits: how many files; no core files, and no program of the machine's that takes them, which runs as root
           (it does for who lowers this limit to 0, or has it at 0 already and may not raise it).
        3. Bounding set: no file gives what is not in it. Wants SETPCAP.
        4. What is its user's; groups, group, user. Who is not root then loses all capabilities by that.
        5. Capabilities: permitted and effective ones; none is inheritable or ambient.
        6. The mode of new files. No new privileges, without which the filter could not be installed.
        7. The filter of system calls.
        """
        if self._keyring:
            _join(self._keyring)
        for call in self._calls:
            call()


def of(security: Sequence[Any]) -> Rights:
    """The rights of a container that nslab.objects.container.Security stands for."""
    uid, gid, groups, dropped, _ = security
    mask = MASK - sum(1 << CAPABILITIES[name] for name in dropped)
    return Rights(uid, gid, tuple(groups), mask, own=(1, 2))


def drop(uid: int = 0, gid: int = 0, groups: tuple[int, ...] = (), mask: int = MASK, nofile: int = NOFILE) -> None:
    """Make rights ready, and drop all others at once."""
    Rights(uid, gid, groups, mask, nofile).drop()


def _join(keyring: syscall.Ready) -> None:
    try:
        keyring()
    except OSError as error:
        # A kernel without keyrings; or somebody's filter on nslab itself, which then holds for this process, too.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise


def _allowed(nofile: int, permitted: int) -> int:
    """How many open files can be had of so many."""
    hard = syscall.hard_limit(syscall.RLIMIT_NOFILE)
    return min(nofile, max(hard, _most_files()) if permitted >> SYS_RESOURCE & 1 else hard)


def _core(permitted: int) -> int:
    """NO_CORE where it can be had: sudo, for one, lowers the limit to 0."""
    return NO_CORE if permitted >> SYS_RESOURCE & 1 else min(NO_CORE, syscall.hard_limit(syscall.RLIMIT_CORE))


@lru_cache(1)
def _most_files() -> int:
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        return int(file.read())


@lru_cache(8)
def _bounding(mask: int) -> tuple[syscall.Ready, ...]:
    """Calls that drop all but these from the bounding set; none where that is not ours to do (no_new_privs holds)."""
    if not syscall.permitted() >> SETPCAP & 1:
        return ()
    return tuple(syscall.ready_prctl(syscall.PR_CAPBSET_DROP, one) for one in _known() if not mask >> one & 1)


@lru_cache(1)
def _known() -> tuple[int, ...]:
    """The capabilities that this kernel has."""
    known: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            syscall.prctl(syscall.PR_CAPBSET_READ, len(known))
            known.append(len(known))
    return tuple(known)
