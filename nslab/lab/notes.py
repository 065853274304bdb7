"""What nslab keeps and does not act on, where that changes what is seen: two lines, by kind, field and image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nslab.api.document import EXISTING
from nslab.api.rules import names
from nslab.api.schema import own
from nslab.api.words import counted, dotted, shown
from nslab.errors import FieldError
from nslab.lab.images import stand_ins
from nslab.lab.types import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.api.document import Document
    from nslab.errors import FieldPath

PROBE: dict[str, Any] = {"grpc": {}, "httpGet": {"scheme": "HTTPS"}}
SECCOMP: dict[str, Any] = {"type": "Unconfined", "localhostProfile": {}}
CONTAINER: dict[str, Any] = {
    **{name: {} for name in names("envFrom startupProbe volumeDevices volumeMounts")},
    "env": {"valueFrom": {}},
    "lifecycle": {"postStart": PROBE, "preStop": PROBE},
    "ports": {"hostIP": {}},
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
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
    **{key: {"spec": {"paused": {}, "template": {"spec": POD_SPEC}}} for key in CONTROLLERS},
    "Service": {"spec": {"loadBalancerClass": {}, "loadBalancerIP": {}, "trafficDistribution": {}}},
    "EndpointSlice": {"endpoints": {"hints": {"forNodes": {}}}},
}
"""The fields of each kind, as a tree whose leaves are named; a leaf that is a word: only where it says that."""
WORKING = names(
    """
    CronJob Endpoints HorizontalPodAutoscaler Ingress NetworkPolicy PersistentVolume PersistentVolumeClaim
    PodDisruptionBudget ResourceQuota
    """
)
"""Kinds on which a cluster acts, in what its network shows."""


def notes(objects: Iterable[Document], pods: Iterable[Document]) -> Iterator[FieldError]:
    """One line for all that is kept and not acted on, by kind and by field; and one for the images that are played."""
    kinds, fields = Counter[tuple[str, str]](), Counter[str]()
    for one in objects:
        if one.made:
            continue
        foreign = not own(str(one.value.get("apiVersion")))
        if foreign or one.kind in WORKING:
            kinds[one.kind, f".{group_of(one.value['apiVersion'])}" if foreign else ""] += 1
        for path in () if foreign else _said(one.value, NOTED.get(one.kind, {})):
            fields[_named(one.kind, path)] += 1
    what = [shown(counted(number, kind) + group) for (kind, group), number in kinds.items()]
    what += [f"{field} ({number} times)" if number > 1 else field for field, number in fields.items()]
    if what:
        yield FieldError((EXISTING,), f"kept, not acted on: {', '.join(what)}")
    if played := stand_ins(one.view for one in pods):
        yield FieldError((EXISTING,), f"played by stand-ins: {', '.join(map(shown, played))}")


def group_of(version: str) -> str:
    """The group of an apiVersion."""
    return version.rpartition("/")[0]


def _named(kind: str, path: FieldPath) -> str:
    """A field by its kind: what a template says, it says of a Pod."""
    steps = [step for step in path if isinstance(step, str)]
    return f"Pod.{dotted(steps[2:])}" if steps[:2] == ["spec", "template"] else f"{kind}.{dotted(steps)}"


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
