"""Capabilities by name, and which of them a container keeps: what its securityContext comes to (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nslab.lab.types import SecurityContext

ALL = "ALL"
DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
    "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
)  # fmt: skip
"""What container runtimes leave a container that asks for nothing; nslab gives none more than that."""
OTHERS = (
    "DAC_READ_SEARCH", "LINUX_IMMUTABLE", "NET_BROADCAST", "NET_ADMIN", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
    "SYS_RAWIO", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "LEASE", "AUDIT_CONTROL", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
    "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""The others that there are: a container may say that it does without."""


def plain(name: str) -> str:
    """A capability as Kubernetes writes it: NET_RAW, also for cap_net_raw."""
    return name.upper().removeprefix("CAP_")


def dropped(context: SecurityContext) -> tuple[str, ...]:
    """Which of the default ones a container does without. As in containerd: ALL goes first, then come those added."""
    kept = {*context.add, *(() if ALL in context.drop else DEFAULT)} - {*context.drop}
    return tuple(name for name in DEFAULT if name not in kept)


def user(pod: SecurityContext, container: SecurityContext) -> int:
    """Whom a container runs as: what it says goes before what its pod says, and root is the default."""
    return _first(container.user, pod.user)


def group(pod: SecurityContext, container: SecurityContext) -> int:
    """Its group, likewise."""
    return _first(container.group, pod.group)


def groups(pod: SecurityContext) -> tuple[int, ...]:
    """What other groups the containers of a pod are in; that of its volumes is one of them."""
    return tuple(dict.fromkeys((*pod.groups, *(() if pod.fs_group is None else (pod.fs_group,)))))


def _first(*numbers: int | None) -> int:
    return next((number for number in numbers if number is not None), 0)
