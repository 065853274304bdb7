"""The volumes of pods and where containers mount them: views of what pods say (pure)."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from nslab.api import quantity
from nslab.api.rules import names
from nslab.dataclass import dataclass
from nslab.lab.sources import CONFIG_MAP, FIELD, SECRET, resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.errors import FieldPath

FILES = names("configMap downwardAPI projected secret")
"""The kinds of volumes that hold what other objects say."""
KINDS = {"configMap": CONFIG_MAP, "secret": SECRET}
EMPTY_DIR, CLAIM = "emptyDir", "persistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class FileItem:
    """One file of a volume: a key, or the path of a pod's field. `text`: what is in it, if that is known already."""

    key: str
    path: str
    mode: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class FileSource:
    """A ConfigMap or Secret, or (FIELD) a pod's own fields. `whole`: all its keys are files, by their names.

    `place`: where the volume says it.
    """

    kind: str
    name: str = ""
    items: tuple[FileItem, ...] = ()
    whole: bool = False
    optional: bool = False
    place: FieldPath = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a pod; `kind`: as Kubernetes calls it. `size`: bytes of an empty one, 0: as usual."""

    name: str
    kind: str = EMPTY_DIR
    size: int = 0
    mode: int = 0o644
    sources: tuple[FileSource, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """Where a container has a volume, or a part of it. `expands`: the sub-path has variables in it."""

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
    """What a StatefulSet claims for each of its pods."""
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
    """Where a container has volumes."""
    for one in container.get("volumeMounts", ()):
        path = posixpath.normpath("/" + one.get("mountPath", "").strip("/"))
        inside = one.get("subPathExpr") or one.get("subPath", "")
        yield VolumeMount(
            one.get("name", ""), path, inside, bool(one.get("readOnly")), expands=bool(one.get("subPathExpr"))
        )


def _volume(fields: dict[str, Any], containers: dict[str, Any]) -> Volume:
    kind = next((word for word, said in fields.items() if isinstance(said, dict)), EMPTY_DIR)
    said = fields.get(kind, {})
    size = quantity.whole(str(said.get("sizeLimit") or 0)) if kind == EMPTY_DIR else 0
    sources = tuple(_sources(kind, said, containers)) if kind in FILES else ()
    return Volume(fields.get("name", ""), kind, size or 0, said.get("defaultMode", 0o644), sources)


def _sources(
    kind: str, said: dict[str, Any], containers: dict[str, Any], place: FieldPath = ()
) -> Iterator[FileSource]:
    if kind == "projected":
        for index, one in enumerate(said.get("sources", ())):
            for word in sorted(one.keys() & FILES):
                yield from _sources(word, one[word], containers, (kind, "sources", index))
    elif kind in KINDS:
        chosen = said.get("items", ())
        items = tuple(FileItem(one.get("key", ""), one.get("path", ""), one.get("mode")) for one in chosen)
        name = said.get("secretName") or said.get("name", "")
        yield FileSource(
            KINDS[kind], name, items, whole=not items, optional=bool(said.get("optional")), place=(*place, kind)
        )
    elif kind == "downwardAPI":
        yield FileSource(FIELD, items=tuple(_field(one, containers) for one in said.get("items", ())))


def _field(one: dict[str, Any], containers: dict[str, Any]) -> FileItem:
    asked = one.get("resourceFieldRef")
    text = resource(containers.get(asked.get("containerName", ""), {}), asked) if asked else None
    return FileItem(one.get("fieldRef", {}).get("fieldPath", ""), one.get("path", ""), one.get("mode"), text)
