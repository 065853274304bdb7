"""How the new file of a running lab differs from what ran, in the file's terms and not in the kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.admission.settings import SETTINGS, values
from nslab.api.words import printable
from nslab.lab import dump
from nslab.lab.termination import without_terminating

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nslab.api.document import Document
    from nslab.lab.types import Lab

    Object = dict[str, Any]
    Place = tuple[str, str]
    """The container ("": the object itself) and the field in it."""

LONGEST = 80
"""The number of characters after which a value is cut."""
UNSET = "unset"
CONTAINERS = ("containers", "initContainers")
HOSTS = ("nodes", "clients", "routers")


def edits(was: Lab, lab: Lab, given: Collection[str] = ()) -> list[str]:
    """A line for each setting and for each object that differs. `given`: the settings that options override.

    A controller's pods follow it, and have no lines of their own; of a Secret, no values are shown.
    """
    before, now = values(was), values(lab)
    settings = [
        f"{'changed' if name in given else 'back to the file'}: {name} {now[name]} (was {old})"
        for name, old in before.items()
        if now.get(name, old) != old
    ]
    return [*settings, *map(printable, _objects(_written(was), _written(lab)))]


def _written(lab: Lab) -> dict[str, Object]:
    """The lab, its hosts, and all objects but the pods of controllers, by the words that name them."""
    there = without_terminating(lab)
    made = {(pod.namespace, pod.name) for pod in there.pods if pod.owner}
    objects = [
        one for one in dump.documents(there).objects() if one.kind != "Pod" or (one.namespace, one.name) not in made
    ]
    return {**_lab(lab), **{_words(one): _own(one.value) for one in objects}}


def _lab(lab: Lab) -> dict[str, Object]:
    spec = dump.lab_document(lab)["spec"]
    hosts = {f"{kind[:-1]} {one['name']}": one for kind in HOSTS for one in spec.get(kind, ())}
    cni = {name: value for name, value in spec["cni"].items() if name not in SETTINGS}
    return {"lab": {"networks": spec["networks"], "cni": cni, "dns": spec.get("dns", {})}, **hosts}


def _words(one: Document) -> str:
    name = one.name if one.namespace in ("", "default") else f"{one.namespace}/{one.name}"
    return f"{one.kind.lower()} {name}"


def _own(value: Object) -> Object:
    """An object without its status and its uid."""
    metadata = {name: below for name, below in value["metadata"].items() if name != "uid"}
    return {name: below for name, below in value.items() if name != "status"} | {"metadata": metadata}


def _objects(was: dict[str, Object], now: dict[str, Object]) -> Iterator[str]:
    yield from (f"deleted: {words}" for words in was if words not in now)
    yield from (f"created: {words}" for words in now if words not in was)
    for words, one in now.items():
        if words in was:
            yield from (f"changed: {words}{line}" for line in _changed(was[words], one))


def _changed(was: Object, now: Object) -> Iterator[str]:
    """The fields that differ, each with its values."""
    old, new = dict(_fields(was)), dict(_fields(now))
    for place in dict.fromkeys((*old, *new)):
        if old.get(place) != new.get(place):
            container, field = place
            shown = f" {_cut(old.get(place, UNSET))} -> {_cut(new.get(place, UNSET))}"
            where = f", container {container}" if container else ""
            yield f"{where}: {field}{'' if now.get('kind') == 'Secret' else shown}"


def _fields(value: Any, container: str = "", path: str = "") -> Iterator[tuple[Place, str]]:
    """The scalars of a value, and its lists of scalars, each with its place."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            if name in CONTAINERS and isinstance(below, list):
                for one in below:
                    yield from _fields(one, str(one.get("name", "")))
            else:
                yield from _fields(below, container, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for index, one in enumerate(value):
            name = one.get("name", index) if isinstance(one, dict) else index
            yield from _fields(one, container, f"{path}[{name}]")
    elif value != []:
        yield (container, path), " ".join(map(_scalar, value if isinstance(value, list) else [value]))


def _scalar(value: Any) -> str:
    """As YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
