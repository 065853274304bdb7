"""Capabilities by name, and the effective securityContext of a container (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nslab.api.pod_types import SecurityContext

ALL = "ALL"
DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
    "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
)  # fmt: skip
"""The runtimes' default capabilities of a container; nslab allows no others."""
DEFAULT_SET = frozenset(DEFAULT)
OTHERS = (
    "DAC_READ_SEARCH", "LINUX_IMMUTABLE", "NET_BROADCAST", "NET_ADMIN", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
    "SYS_RAWIO", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "LEASE", "AUDIT_CONTROL", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND",
    "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""The other existing capabilities, which a container may drop."""


def plain(name: str) -> str:
    """A capability in Kubernetes' spelling: NET_RAW for cap_net_raw."""
    return name.upper().removeprefix("CAP_")


def dropped(context: SecurityContext) -> tuple[str, ...]:
    """The default capabilities that a container drops. As in containerd, `drop: ALL` applies before `add`."""
    kept = {*context.add, *(() if ALL in context.drop else DEFAULT)} - {*context.drop}
    return tuple(name for name in DEFAULT if name not in kept)


def user(pod: SecurityContext, container: SecurityContext) -> int:
    """The user id of a container: its own runAsUser, else its pod's, else 0 (root)."""
    return _first(container.user, pod.user)


def group(pod: SecurityContext, container: SecurityContext) -> int:
    """The group id of a container, likewise."""
    return _first(container.group, pod.group)


def groups(pod: SecurityContext) -> tuple[int, ...]:
    """The supplementary groups of a pod's containers, including fsGroup."""
    return tuple(dict.fromkeys((*pod.groups, *(() if pod.fs_group is None else (pod.fs_group,)))))


def _first(*numbers: int | None) -> int:
    return next((number for number in numbers if number is not None), 0)
