"""The fields of securityContext and resources."""

from __future__ import annotations

from typing import Any

from nslab.dataclass import replace
from nslab.lab import security
from nslab.lab.patterns import COUNT, names
from nslab.lab.shapes import Anything, Field, Flag, Many, Part, Quantity, Record, Text
from nslab.lab.types import USUAL, Resources, SecurityContext

_USUAL_FILTER = "", "RuntimeDefault"


def _context(
    add: tuple[str, ...] = (), drop: tuple[str, ...] = (), seccomp: str = "", escalates: bool = False, **said: Any
) -> SecurityContext:
    """What a pod or a container says of its rights."""
    asked = {"allowPrivilegeEscalation: true": escalates, f"seccompProfile: {seccomp}": seccomp not in _USUAL_FILTER}
    unheeded = tuple(name for name, is_so in asked.items() if is_so)
    added, dropped = (tuple(map(security.plain, names)) for names in (add, drop))
    return SecurityContext(**said, add=added, drop=dropped, unheeded=unheeded)


def _limits(cpu: int | None = None, **said: Any) -> Resources:
    return Resources(**said, unheeded=() if cpu is None else ("limits.cpu",))


def _resources(limits: Resources = USUAL, requests: bool = False) -> Resources:
    """What a container says that it needs, of which its limits count."""
    return replace(limits, unheeded=(*limits.unheeded, "requests")) if requests else limits


_RUN_AS = (
    Field("runAsUser", "user", COUNT, "The user's number (0).", otherwise=security.NOBODY),
    Field("runAsGroup", "group", COUNT, "The group's number (0)."),
    Field("runAsNonRoot", "non_root", Flag(), "Whether it must not be root (false)."),
)
_SAME_HERE = (
    *(
        Field(name, "", Anything(), "Accepted: the runtime's defaults hold for every container.")
        for name in ("appArmorProfile", "seLinuxOptions")
    ),
    Field(
        "seccompProfile",
        "",
        Part(
            (
                Field("type", "seccomp", Text(), "Accepted: it is RuntimeDefault for every container."),
                Field("localhostProfile", "", Anything(), "Accepted, not acted on."),
            )
        ),
        "Accepted: the runtime's default profile holds for every container.",
    ),
)
POD_SECURITY = Record(
    _context,
    (
        *_RUN_AS,
        Field("supplementalGroups", "groups", Many(COUNT), "More groups of every container's."),
        Field("fsGroup", "fs_group", COUNT, "One more: that of the volumes."),
        *_SAME_HERE,
        *(
            Field(name, "", Anything(), "Accepted: there is nothing for it to choose here.")
            for name in ("fsGroupChangePolicy", "seLinuxChangePolicy", "supplementalGroupsPolicy")
        ),
    ),
    later=names("sysctls windowsOptions"),
)
CONTAINER_SECURITY = Record(
    _context,
    (
        *_RUN_AS,
        Field(
            "capabilities",
            "",
            Part(
                (
                    Field("add", "add", Many(Text()), "Those of the default ones that `drop: [ALL]` would take."),
                    Field("drop", "drop", Many(Text()), "Those that it does without; ALL: every one."),
                )
            ),
            "What root may do in it: at most what runtimes leave by default.",
        ),
        Field("readOnlyRootFilesystem", "read_only", Flag(), "Whether nothing but its volumes is writable (false)."),
        Field("privileged", "privileged", Flag(), "false; no container here is."),
        Field("allowPrivilegeEscalation", "escalates", Flag(), "Accepted: no program gives a container more rights."),
        Field("procMount", "", Anything(), "Accepted: /proc is masked."),
        *_SAME_HERE,
    ),
    later=names("windowsOptions"),
)
RESOURCES = Record(
    _resources,
    (
        Field(
            "limits",
            "limits",
            Record(
                _limits,
                (
                    Field("memory", "memory", Quantity(), "Bytes of memory: 64Mi, 1G, 129e6."),
                    Field("ephemeral-storage", "storage", Quantity(), "Bytes of files, which are in memory here."),
                    Field("cpu", "cpu", Quantity(), "Accepted, not acted on."),
                ),
            ),
            "What it may use at most.",
        ),
        Field("requests", "requests", Anything(), "Accepted: there is room for all.", otherwise=True),
    ),
    later=names("claims"),
)
