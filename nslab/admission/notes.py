"""Notes on what nslab keeps and does not act on, if a cluster would behave differently: by kind, field and image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nslab.api.document import EXISTING
from nslab.api.images import stand_ins
from nslab.api.pod_types import Pod
from nslab.api.rules import names
from nslab.api.schema import own
from nslab.api.volumes import EMPTY_DIR, FILES
from nslab.api.words import counted, dotted, shown
from nslab.errors import FieldError
from nslab.lab.node_selector import PREFERRED
from nslab.lab.stream import is_later_hook
from nslab.lab.types import CONTROLLERS, Controller
from nslab.runtime.mounts import is_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.api.document import Document
    from nslab.errors import FieldPath

SECCOMP: dict[str, Any] = {"type": "Unconfined", "localhostProfile": {}}
CONTAINER: dict[str, Any] = {
    **{name: {} for name in names("volumeDevices")},
    "env": {"valueFrom": {"fileKeyRef": {}}},
    "securityContext": {"allowPrivilegeEscalation": {}, "seccompProfile": SECCOMP},
}
POD_SPEC: dict[str, Any] = {
    **{
        name: {}
        for name in names(
            """
            activeDeadlineSeconds hostIPC hostPID readinessGates schedulingGates
            setHostnameAsFQDN topologySpreadConstraints
            """
        )
    },
    "affinity": {"nodeAffinity": {PREFERRED: {}}, "podAffinity": {}, "podAntiAffinity": {}},
    "containers": CONTAINER,
    "initContainers": CONTAINER,
    "volumes": {"projected": {"sources": {name: {} for name in names("clusterTrustBundle podCertificate")}}},
    "securityContext": {"seccompProfile": SECCOMP, "sysctls": {}},
}
NOTED: dict[str, dict[str, Any]] = {
    "Pod": {"spec": POD_SPEC},
    **{key: {"spec": {"template": {"spec": POD_SPEC}}} for key in CONTROLLERS},
    "Service": {"spec": {"loadBalancerClass": {}, "loadBalancerIP": {}}},
}
"""The noted fields of each kind, as a tree of names. A leaf that is a string: only that value is noted."""
WORKING = names(
    """
    HorizontalPodAutoscaler Ingress Node PersistentVolume PodDisruptionBudget ResourceQuota
    """
)
"""Kinds that affect a cluster's network, and that nslab does not act on. A claim is named as an empty folder."""


def notes(objects: Sequence[Document], pods: Iterable[Document]) -> Iterator[FieldError]:
    """One line each: kinds and fields that nslab does not act on, volumes that are empty, images with stand-ins."""
    kinds, fields = Counter[tuple[str, str]](), Counter[str]()
    for one in objects:
        if one.made:
            continue
        foreign = not own(str(one.value.get("apiVersion")))
        if is_later_hook(one):
            kinds[one.kind, " (Helm's hook for later)"] += 1
            continue
        if foreign or one.kind in WORKING:
            kinds[one.kind, f".{group_of(one.value['apiVersion'])}" if foreign else ""] += 1
        for path in () if foreign else (*_said(one.value, NOTED.get(one.kind, {})), *_unmounted(one)):
            fields[_named(one.kind, path)] += 1
    what = [shown(counted(number, kind) + group) for (kind, group), number in kinds.items()]
    what += [f"{field} ({number} times)" if number > 1 else field for field, number in fields.items()]
    if what:
        yield FieldError((EXISTING,), f"kept, not acted on: {', '.join(what)}")
    views = [one.view for one in objects if not one.made]
    yield from _volumes(
        [one.template if isinstance(one, Controller) else one for one in views if isinstance(one, Controller | Pod)]
    )
    if played := stand_ins(one.view for one in pods):
        yield FieldError((EXISTING,), f"played by stand-ins: {', '.join(map(shown, played))}")


def _volumes(templates: Sequence[Pod]) -> Iterator[FieldError]:
    """Volumes that hold something on a cluster and nothing here, by kind; and where no container has one."""
    kinds = Counter(one.kind for pod in templates for one in pod.mounted if one.kind not in (EMPTY_DIR, *FILES))
    if kinds:
        what = ", ".join(counted(number, kind) for kind, number in kinds.items())
        yield FieldError((EXISTING,), f"an empty folder each, gone with its pod: {what}")
    paths = {mount.path for pod in templates for one in pod.every for mount in one.mounts if is_own(mount.path)}
    if paths:
        text = f"nothing is mounted at {', '.join(map(shown, sorted(paths)))}: each container has its own there"
        yield FieldError((EXISTING,), text)


def _unmounted(one: Document) -> Iterator[FieldPath]:
    """The paths of a StatefulSet's claims that no container mounts."""
    if one.kind == "StatefulSet":
        mounted = {volume.name for volume in one.view.template.mounted}
        names = [each.get("metadata", {}).get("name", "") for each in one.spec.get("volumeClaimTemplates", ())]
        yield from (("spec", "volumeClaimTemplates") for name in names if name not in mounted)


def group_of(version: str) -> str:
    """The group of an apiVersion."""
    return version.rpartition("/")[0]


def _named(kind: str, path: FieldPath) -> str:
    """The name of a field with its kind; a field of a template counts as one of Pod."""
    steps = [step for step in path if isinstance(step, str)]
    return f"Pod.{dotted(steps[2:])}" if steps[:2] == ["spec", "template"] else f"{kind}.{dotted(steps)}"


def _said(value: Any, tree: Any) -> Iterator[FieldPath]:
    """The paths of the leaves of `tree` that are set in a value."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from ((index, *path) for path in _said(item, tree))
    elif isinstance(value, dict):
        for name in value.keys() & tree.keys():
            subtree, field = tree[name], value[name]
            if isinstance(subtree, str) or not subtree:
                is_set = field == subtree if isinstance(subtree, str) else field not in (None, {}, [], "", False)
                yield from [(name,)] if is_set else []
            else:
                yield from ((name, *path) for path in _said(field, subtree))
