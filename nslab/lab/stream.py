"""Reads the documents of a stream, each by the schema of its kind."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.api import schema
from nslab.api.document import CLUSTER_WIDE, Document, as_applied
from nslab.api.documents import Tree, located, numbered
from nslab.api.scalars import what
from nslab.api.suffix import generated
from nslab.api.values import PROBLEMS_WITH_ADVICE, AliasesError, Reader
from nslab.dataclass import dataclass, field
from nslab.errors import FieldError, LabFileError, Position
from nslab.lab.lab_document import LabDocument
from nslab.lab.types import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.api.shapes import Shape
    from nslab.api.values import Node
    from nslab.errors import FieldPath

ACTED_ON = {
    "Service": "services",
    "EndpointSlice": "slices",
    "Pod": "pods",
    **dict.fromkeys(CONTROLLERS, "controllers"),
}
"""The kinds that nslab acts on, and their fields of Documents; all other kinds are `others`."""
OURS = "nslab/v1"
HOOK, INSTALLED = "helm.sh/hook", {"pre-install", "post-install", "crd-install"}
"""The annotation by which an object belongs to an event of Helm's, and the events of an installation."""
KUSTOMIZATION: dict[str, Any] = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
    "metadata": {"name": "kustomization"},
}
"""What kustomize fills in for a `kustomization.yaml`, which lies in a folder beside its manifests; and a name."""


def is_later_hook(one: Document) -> bool:
    """Whether Helm makes an object at another time than when it installs a chart: for a test, say."""
    if not (events := one.metadata.get("annotations", {}).get(HOOK)):
        return False
    hooks = {word.strip() for word in str(events).split(",")} - {""}
    return bool(hooks) and not hooks & INSTALLED


@dataclass(slots=True)
class Documents:
    """The objects of a stream or of a lab, by kind."""

    lab: LabDocument = field(default_factory=lambda: LabDocument({}, None))
    pods: list[Document] = field(default_factory=list)
    services: list[Document] = field(default_factory=list)
    slices: list[Document] = field(default_factory=list)
    controllers: list[Document] = field(default_factory=list)
    others: list[Document] = field(default_factory=list)
    unnamed: Callable[[str], str] | None = None
    bases: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, one: Document, *, foreign: bool = False) -> None:
        """Append an object to those of its kind. `foreign`: its API group is not one of Kubernetes' own."""
        kept = foreign or is_later_hook(one)
        getattr(self, "others" if kept else ACTED_ON.get(one.kind, "others")).append(one)

    def acted_on(self) -> list[Document]:
        """The objects that nslab acts on."""
        return [*self.services, *self.slices, *self.controllers, *self.pods]

    def objects(self) -> list[Document]:
        """All objects except the Lab."""
        return [*self.acted_on(), *self.others]


@cache
def lab_schema() -> dict[str, Any]:
    """The JSON Schema of the Lab document, which `nslab schema` prints, too."""
    text = Path(__file__).with_name("lab.schema.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def _lab_shape() -> Shape:
    return schema.compiled(lab_schema())


def read_stream(
    reader: Reader, *, lab: bool = True, stored: bool = False, unnamed: Callable[[str], str] | None = None
) -> Documents:
    """The documents of a reader: a lab file's, or (not `lab`) of objects without a Lab. Errors go to the reader.

    `stored`: nslab wrote them, so server-set fields are valid; in a user's file they are copies from a cluster.
    `unnamed`: the error for an object with a `generateName` and no name; without, it gets a name.
    """
    found, first = Documents(unnamed=unnamed), True
    try:
        for index, file, root in numbered(reader.sources):
            reader.file = file
            if root.id == "scalar" and reader.read(root) is None:
                continue  # an empty document between two ---
            _read(Tree(root), (index,), reader, found, first=first or not lab, stored=stored)
            first = False
    except AliasesError as bomb:
        reader.say(bomb.node, "aliases repeat far more than the file holds; write out what you mean")
    except LabFileError as error:
        reader.errors += error.errors
    else:
        if first:
            what = "neither a Lab nor an object" if lab else "no object"
            position = Position(reader.sources[0].file, 1, 1)
            reader.errors.append(FieldError((), f"there is {what} in it", position=position))
    return found


def _read(
    tree: Tree, path: FieldPath, reader: Reader, found: Documents, *, first: bool = False, stored: bool = False
) -> None:
    """Read one document, or the items of a List. `first`: it may be the Lab. `stored`: as in `read_stream`."""
    node = tree.at(path[1:])
    if node.id != "mapping":
        reader.say(node, "a document of a lab file must be a mapping with apiVersion and kind")
        return
    if _is_list(node):
        _read_list(tree, path, reader, found, stored=stored)
        return
    start = len(reader.errors)
    value = reader.read(node)
    if _is_kustomization(reader.file):
        value = {**KUSTOMIZATION, **value}
    kind = value.get("kind")
    shape, wrong = _shape(value, path)
    if kind == "Lab" and found.lab.document is not None:
        wrong = [FieldError((*path, "kind"), "a lab file has one Lab document, and this is another")]
    elif kind == "Lab" and not first:
        wrong = [FieldError((*path, "kind"), "the Lab must be the first document of a lab file")]
    elif shape:
        base = _name(value, found) if kind != "Lab" else ""
        # An error in a generated name is one in its base.
        wrong += [
            each for each in schema.check(value, shape, path) if not base or each.path != (*path, "metadata", "name")
        ]
        if base and found.unnamed:
            wrong.append(FieldError((*path, "metadata", "generateName"), found.unnamed(base)))
        if kind == "Lab":
            found.lab = LabDocument(value, int(path[0]))
        else:
            one = Document(value if stored or found.lab.stored else as_applied(value), path)
            if one.kind not in CLUSTER_WIDE:
                one.metadata.setdefault("namespace", "default")
            found.add(one, foreign=shape is schema.foreign())
    unread = {error.position for error in reader.errors[start:]} if wrong else ()
    for each in wrong:
        advice = len(reader.errors) < PROBLEMS_WITH_ADVICE
        error = located(each, reader.file, tree.at(each.path[1:], key=each.key), advice=advice)
        # An error at the position of an unreadable value only follows from that value.
        if error.text and error.position not in unread:
            reader.errors.append(error)


@cache
def _is_kustomization(file: str) -> bool:
    return bool(file) and Path(file).stem == "kustomization"


def _name(value: dict[str, Any], found: Documents) -> str:
    """Name an object that has only a `generateName`; returns that.

    The letters follow from the kind, the namespace, the base and its number among the file's: a file that is read
    again has the same names.
    """
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") or not metadata.get("generateName"):
        return ""
    key = (str(value["kind"]), str(metadata.get("namespace", "default")), str(metadata["generateName"]))
    metadata["name"] = generated(key[-1], "/".join((*key, str(found.bases[key]))))
    found.bases[key] += 1
    return key[-1]


def _is_list(node: Node) -> bool:
    """Whether a document is a List of objects, or a typed list of an API server, such as PodList."""
    kind = _text(node, "kind")
    if not kind.endswith("List"):
        return False
    version = _text(node, "apiVersion")
    return (version, kind) == ("v1", "List") or (version, kind.removesuffix("List")) in schema.kinds()


def _text(node: Node, field: str) -> str:
    """The text of a field (of duplicate fields the first counts); "" without one."""
    return next((str(value.value) for name, value in node.value if name.value == field and value.id == "scalar"), "")


def _read_list(tree: Tree, path: FieldPath, reader: Reader, found: Documents, *, stored: bool) -> None:
    """Read the items of a List."""
    items = tree.at((*path[1:], "items"))
    if items.id == "sequence":
        for index in range(len(items.value)):
            _read(tree, (*path, "items", index), reader, found, stored=stored)
    elif items is tree.at(path[1:]):
        reader.say(items, "items is missing")
    else:
        reader.say(items, f"items must be a list, and this is {what(items)}")


def _shape(value: dict[str, Any], path: FieldPath) -> tuple[Shape | None, list[FieldError]]:
    """The shape of a document's kind; None with an error if the kind is unknown."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if kind == "Lab" and version in (OURS, None):
        return _lab_shape(), [] if version else [FieldError(path, "apiVersion is missing")]
    if kind == "Lab" or (kind and version == OURS):
        versions = (OURS,) if kind == "Lab" else schema.versions_of(str(kind), "")
        return schema.no_match(version, kind, path, versions, ("Lab",))
    return schema.shape_for(version, kind, path)
