"""What a file says, is kept, and is not acted on: named once, where acting on it would change what is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.rules import names
from nslab.api.words import counted, dotted
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

PROBE: dict[str, Any] = {
    "exec": {},
    "grpc": {},
    "httpGet": {"host": {}, "httpHeaders": {}, "scheme": "HTTPS"},
    "tcpSocket": {"host": {}},
}
SECCOMP: dict[str, Any] = {"type": "Unconfined", "localhostProfile": {}}
CONTAINER: dict[str, Any] = {
    **{name: {} for name in names("envFrom lifecycle startupProbe volumeDevices volumeMounts")},
    "env": {"valueFrom": {}},
    "ports": {"hostIP": {}},
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "resources": {"limits": {"cpu": {}}, "requests": {}},
    "securityContext": {"allowPrivilegeEscalation": {}, "seccompProfile": SECCOMP},
}
POD_SPEC: dict[str, Any] = {
    **{
        name: {}
        for name in names(
            """
            activeDeadlineSeconds affinity dnsConfig hostAliases hostIPC hostNetwork hostPID initContainers nodeSelector
            readinessGates schedulingGates setHostnameAsFQDN subdomain topologySpreadConstraints volumes
            """
        )
    },
    "containers": CONTAINER,
    "dnsPolicy": "Default",
    "securityContext": {"seccompProfile": SECCOMP, "sysctls": {}},
}
NOTED: dict[str, dict[str, Any]] = {
    "Pod": {"spec": POD_SPEC},
    "Deployment": {"spec": {"paused": {}, "template": {"spec": POD_SPEC}}},
    "Service": {"spec": {"loadBalancerClass": {}, "loadBalancerIP": {}}},
}
"""The fields of each kind, as a tree whose leaves are named; a leaf that is a word: only where it says that."""
WORKING = names("CronJob DaemonSet Endpoints Ingress Job NetworkPolicy ReplicaSet ReplicationController StatefulSet")
"""Kinds from which a cluster makes pods, or ways for packets."""


def notes(found: Documents) -> Iterator[FieldError]:
    """One sentence for each field, and for each kind, at its first place."""
    named: dict[str, list[FieldPath]] = {}
    for one in found.objects():
        if one.made:
            continue
        if one.kind in WORKING:
            named.setdefault(f"{one.kind}s" if one.kind[-1] not in "sy" else one.kind, []).append((*one.path, "kind"))
        for path in _said(one.value, NOTED.get(one.kind, {})):
            field = dotted(step for step in path if isinstance(step, str))
            named.setdefault(f"{one.kind}.{field}", []).append((*one.path, *path))
    for what, paths in named.items():
        more = f" (in {counted(len(paths), 'place')})" if len(paths) > 1 else ""
        yield FieldError(paths[0], f"nslab keeps {what} and does not act on it{more}", key=True)


def _said(value: Any, tree: Any) -> Iterator[FieldPath]:
    """The places of what a value says, of the leaves of a tree."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from ((index, *path) for path in _said(item, tree))
    elif isinstance(value, dict):
        for name in value.keys() & tree.keys():
            below = tree[name]
            if isinstance(below, str) or not below:
                differs = (
                    value[name] == below if isinstance(below, str) else value[name] not in (None, {}, [], "", False)
                )
                yield from [(name,)] if differs else []
            else:
                yield from ((name, *path) for path in _said(value[name], below))
