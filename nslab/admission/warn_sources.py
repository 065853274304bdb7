"""What variables and files of containers are to come from, and is not there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nslab.admission.validate_pods import of_pod, templates
from nslab.api.document import EXISTING
from nslab.api.sources import CONFIG_MAP, EVERYWHERE, FIELD, FIELDS, KEYED, SECRET, decoded, holds, stored
from nslab.api.words import shown
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import Container, Pod
    from nslab.api.sources import Stored, ValueSource, VariablesSource
    from nslab.api.volumes import FileSource
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

MOST_LINKS = 100
"""Services of a namespace, the first by name, for which containers have variables: a program's environment is small."""
_WORDS = {CONFIG_MAP: ("configMapKeyRef", "configMapRef"), SECRET: ("secretKeyRef", "secretRef")}


def sources(found: Documents) -> Iterator[FieldError]:
    """ConfigMaps, Secrets and fields that a container names, and nobody has; Secrets that cannot be read."""
    there = stored((one.kind, one.namespace, one.name, one.value) for one in found.others)
    for _, place, pod in templates(found):
        for field, index, container in of_pod(pod):
            yield from _of_container(container, pod.namespace, (*place, "spec", field, index), there)
        yield from _of_volumes(pod, (*place, "spec", "volumes"), there)
    for one in found.others:
        if one.kind == SECRET:
            for key, text in (one.value.get("data") or {}).items():
                if decoded(text) is None:
                    wrong = f"Secret {shown(one.name)}: {shown(key)} is not in base64, so that it is left out"
                    yield FieldError((*one.path, "data", key), wrong)
    yield from _too_many(found)


def _of_container(container: Container, namespace: str, path: FieldPath, there: Stored) -> Iterator[FieldError]:
    for index, source in container.value_sources:
        if source.kind == FIELD:
            yield from _field(container, index, source, (*path, "env", index, "valueFrom", "fieldRef", "fieldPath"))
        elif not source.optional:
            place = (*path, "env", index, "valueFrom", _WORDS[source.kind][0])
            without = f"container {shown(container.name)} has no variable {shown(container.env[index][0])}"
            yield from absent(source, namespace, place, there, without)
            yield from no_key(source, namespace, place, there, without, source.key)
    for index, more in enumerate(container.env_from):
        if not more.optional:
            without = f"container {shown(container.name)} has no variables of it"
            yield from absent(more, namespace, (*path, "envFrom", index, _WORDS[more.kind][1]), there, without)


def _of_volumes(pod: Pod, path: FieldPath, there: Stored) -> Iterator[FieldError]:
    places = {one.get("name"): index for index, one in enumerate(pod.document.get("spec", {}).get("volumes", ()))}
    for volume in pod.mounted:
        for source in volume.sources:
            if source.kind != FIELD and not source.optional:
                place = (*path, places[volume.name], *source.place)
                without = f"volume {shown(volume.name)} has no files of it"
                name = "secretName" if source.place == ("secret",) else "name"
                yield from absent(source, pod.namespace, place, there, without, name=name)
                for index, item in enumerate(source.items):
                    without = f"volume {shown(volume.name)} has no file {shown(item.path)}"
                    yield from no_key(source, pod.namespace, (*place, "items", index), there, without, item.key)


def absent(
    source: ValueSource | VariablesSource | FileSource,
    namespace: str,
    path: FieldPath,
    there: Stored,
    without: str,
    name: str = "name",
) -> Iterator[FieldError]:
    """A ConfigMap or Secret that is not there. `without`: what follows; `name`: the field that names it."""
    if (source.kind, namespace, source.name) not in there and source.name != EVERYWHERE:
        text = f"there is no {source.kind} {shown(source.name)} in namespace {shown(namespace)}: {without}"
        known = tuple(name for kind, where, name in there if (kind, where) == (source.kind, namespace))
        yield FieldError((*path, name), text, word=source.name, known=known)


def no_key(
    source: ValueSource | FileSource, namespace: str, path: FieldPath, there: Stored, without: str, key: str
) -> Iterator[FieldError]:
    """One that is there, and has no such key."""
    held = there.get((source.kind, namespace, source.name))
    if held is not None and key not in (keys := holds(source.kind, held)):
        text = f"{source.kind} {shown(source.name)} has no key {shown(key)}: {without}"
        yield FieldError((*path, "key"), text, word=key, known=tuple(keys))


def _field(container: Container, index: int, source: ValueSource, path: FieldPath) -> Iterator[FieldError]:
    if source.key not in FIELDS and not KEYED.fullmatch(source.key):
        name = shown(container.env[index][0])
        text = f"a variable cannot have the field {shown(source.key)}: container {shown(container.name)} has no {name}"
        yield FieldError(path, text, word=source.key, known=FIELDS)


def _too_many(found: Documents) -> Iterator[FieldError]:
    linked = {one.view.namespace for one in found.pods if one.view.service_links}
    counts = Counter(one.namespace for one in found.services if one.namespace in linked)
    for namespace, count in counts.items():
        if count > MOST_LINKS:
            text = f"containers of namespace {shown(namespace)} have variables of {MOST_LINKS} of its {count} Services"
            yield FieldError((EXISTING,), f"{text}, the first by name")
