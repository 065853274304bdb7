"""The fields of securityContext and resources."""

from __future__ import annotations

from typing import Any

from nslab.lab import security
from nslab.lab.patterns import COUNT, names
from nslab.lab.shapes import Anything, Field, Flag, Many, Part, Quantity, Record, Text
from nslab.lab.types import Resources, SecurityContext


def _context(add: tuple[str, ...] = (), drop: tuple[str, ...] = (), **said: Any) -> SecurityContext:
    """What a pod or a container says of its rights."""
    return SecurityContext(**said, add=tuple(map(security.plain, add)), drop=tuple(map(security.plain, drop)))


def _resources(limits: Resources | None = None) -> Resources:
    """What a container says that it needs, of which its limits count."""
    return limits or Resources()


_RUN_AS = (
    Field("runAsUser", "user", COUNT, "The user's number (0).", otherwise=security.NOBODY),
    Field("runAsGroup", "group", COUNT, "The group's number (0)."),
    Field("runAsNonRoot", "non_root", Flag(), "Whether it must not be root (false)."),
)
_SAME_HERE = tuple(
    Field(name, "", Anything(), "Accepted: the runtime's defaults hold for every container.")
    for name in ("appArmorProfile", "seLinuxOptions", "seccompProfile")
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
        Field("allowPrivilegeEscalation", "", Flag(), "Accepted: no program gives a container more rights."),
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
                Resources,
                (
                    Field("memory", "memory", Quantity(), "Bytes of memory: 64Mi, 1G, 129e6."),
                    Field("ephemeral-storage", "storage", Quantity(), "Bytes of files, which are in memory here."),
                    Field("cpu", "", Quantity(), "Accepted, not acted on."),
                ),
            ),
            "What it may use at most.",
        ),
        Field("requests", "", Anything(), "Accepted: there is room for all."),
    ),
    later=names("claims"),
)
