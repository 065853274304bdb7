"""Views of pods' volumes, and of their mounts in containers (pure)."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from nslab.api import quantity
from nslab.api.rules import names
from nslab.api.sources import CONFIG_MAP, FIELD, SECRET, resource
from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.errors import FieldPath

FILES = names("configMap downwardAPI projected secret")
"""The kinds of volumes whose files come from other objects, or from the pod's own fields."""
KINDS = {"configMap": CONFIG_MAP, "secret": SECRET}
EMPTY_DIR, CLAIM = "emptyDir", "persistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class FileItem:
    """One file of a volume: a key, or the path of a pod's field. `text`: its contents, if already known."""

    key: str
    path: str
    mode: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class FileSource:
    """A ConfigMap or Secret, or (FIELD) a pod's own fields. `whole`: each of its keys is a file.

    `place`: its path in the volume's document.
    """

    kind: str
    name: str = ""
    items: tuple[FileItem, ...] = ()
    whole: bool = False
    optional: bool = False
    place: FieldPath = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a pod; `kind`: its field in Kubernetes. `size`: an emptyDir's limit in bytes; 0: the default."""

    name: str
    kind: str = EMPTY_DIR
    size: int = 0
    mode: int = 0o644
    sources: tuple[FileSource, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A mount of a volume, or of a path in it. `expands`: the sub-path has variables in it (subPathExpr)."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False
    expands: bool = False


def volumes(spec: dict[str, Any]) -> tuple[Volume, ...]:
    """The volumes of a pod."""
    containers = {one.get("name", ""): one for one in spec.get("containers", ())}
    return tuple(_volume(one, containers) for one in spec.get("volumes", ()))


def claims(spec: dict[str, Any]) -> tuple[Volume, ...]:
    """The volumes of a StatefulSet's volumeClaimTemplates."""
    templates = spec.get("volumeClaimTemplates", ())
    return tuple(Volume(one.get("metadata", {}).get("name", ""), CLAIM) for one in templates)


def with_claims(spec: dict[str, Any], templates: Any, pod: str) -> dict[str, Any]:
    """The spec of a StatefulSet's pod, with the volumes of its claims (NAME-POD)."""
    if not templates:
        return spec
    claimed = [one.get("metadata", {}).get("name", "") for one in templates]
    others = [one for one in spec.get("volumes", ()) if one.get("name") not in claimed]
    return {**spec, "volumes": [*({"name": one, CLAIM: {"claimName": f"{one}-{pod}"}} for one in claimed), *others]}


def mounts(container: dict[str, Any]) -> Iterator[VolumeMount]:
    """The mounts of a container."""
    for one in container.get("volumeMounts", ()):
        path = posixpath.normpath("/" + one.get("mountPath", "").strip("/"))
        inside = one.get("subPathExpr") or one.get("subPath", "")
        yield VolumeMount(
            one.get("name", ""), path, inside, bool(one.get("readOnly")), expands=bool(one.get("subPathExpr"))
        )


def _volume(fields: dict[str, Any], containers: dict[str, Any]) -> Volume:
    kind = next((name for name, value in fields.items() if isinstance(value, dict)), EMPTY_DIR)
    volume = fields.get(kind, {})
    size = quantity.whole(str(volume.get("sizeLimit") or 0)) if kind == EMPTY_DIR else 0
    sources = tuple(_sources(kind, volume, containers)) if kind in FILES else ()
    return Volume(fields.get("name", ""), kind, size or 0, volume.get("defaultMode", 0o644), sources)


def _sources(
    kind: str, volume: dict[str, Any], containers: dict[str, Any], place: FieldPath = ()
) -> Iterator[FileSource]:
    if kind == "projected":
        for index, one in enumerate(volume.get("sources", ())):
            for word in sorted(one.keys() & FILES):
                yield from _sources(word, one[word], containers, (kind, "sources", index))
    elif kind in KINDS:
        chosen = volume.get("items", ())
        items = tuple(FileItem(one.get("key", ""), one.get("path", ""), one.get("mode")) for one in chosen)
        name = volume.get("secretName") or volume.get("name", "")
        yield FileSource(
            KINDS[kind], name, items, whole=not items, optional=bool(volume.get("optional")), place=(*place, kind)
        )
    elif kind == "downwardAPI":
        yield FileSource(FIELD, items=tuple(_field(one, containers) for one in volume.get("items", ())))


def _field(one: dict[str, Any], containers: dict[str, Any]) -> FileItem:
    reference = one.get("resourceFieldRef")
    text = resource(containers.get(reference.get("containerName", ""), {}), reference) if reference else None
    return FileItem(one.get("fieldRef", {}).get("fieldPath", ""), one.get("path", ""), one.get("mode"), text)
