"""Reads the documents of a stream, each by the schema of its kind."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.api import schema
from nslab.api.document import CLUSTER_WIDE, Document
from nslab.api.documents import Tree, documents, located
from nslab.api.values import PROBLEMS_WITH_ADVICE, AliasesError, Reader
from nslab.dataclass import dataclass, field
from nslab.errors import FieldError, LabFileError, Position
from nslab.lab.lab_document import LabDocument

if TYPE_CHECKING:
    from nslab.api.shapes import Shape
    from nslab.errors import FieldPath

ACTED_ON = {"Service": "services", "EndpointSlice": "slices", "Deployment": "deployments", "Pod": "pods"}
"""The kinds that nslab acts on, and their fields of Documents; all other kinds are `others`."""
OURS = "nslab/v1"


@dataclass(slots=True)
class Documents:
    """The objects of a stream or of a lab, by kind."""

    lab: LabDocument = field(default_factory=lambda: LabDocument({}, None))
    pods: list[Document] = field(default_factory=list)
    services: list[Document] = field(default_factory=list)
    slices: list[Document] = field(default_factory=list)
    deployments: list[Document] = field(default_factory=list)
    others: list[Document] = field(default_factory=list)

    def add(self, one: Document) -> None:
        """Append an object to those of its kind."""
        getattr(self, ACTED_ON.get(one.kind, "others")).append(one)

    def objects(self) -> list[Document]:
        """All objects except the Lab."""
        return [*self.services, *self.slices, *self.deployments, *self.pods, *self.others]


@cache
def lab_schema() -> dict[str, Any]:
    """The JSON Schema of the Lab document, which `nslab schema` prints, too."""
    text = Path(__file__).with_name("lab.schema.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def _lab_shape() -> Shape:
    return schema.compiled(lab_schema())


def read_stream(text: str, reader: Reader, *, lab_first: bool = True) -> Documents:
    """The documents of a lab file, or (not `lab_first`) of objects with or without a Lab. Errors go to the reader."""
    found, read = Documents(), 0
    try:
        for index, root in enumerate(documents(text, reader.file)):
            if root.id == "scalar" and reader.read(root) is None:
                continue  # an empty document between two ---
            _read(Tree(root), (index,), reader, found, first=lab_first and not read)
            read += 1
    except AliasesError as bomb:
        reader.say(bomb.node, "aliases repeat far more than the file holds; write out what you mean")
    except LabFileError as error:
        reader.errors += error.errors
    else:
        if not read:
            why = "a lab file begins with a Lab document" if lab_first else "there is no object in it"
            reader.errors.append(FieldError((), f"the file is empty; {why}", position=Position(reader.file, 1, 1)))
    return found


def _read(tree: Tree, path: FieldPath, reader: Reader, found: Documents, *, first: bool = False) -> None:
    """Read one document, or the items of a List. `first`: it must be the Lab."""
    node = tree.at(path[1:])
    if node.id != "mapping":
        reader.say(node, "a document of a lab file must be a mapping with apiVersion and kind")
        return
    if tree.at((*path[1:], "kind")).value == "List" and (items := tree.at((*path[1:], "items"))).id == "sequence":
        for index in range(len(items.value)):
            _read(tree, (*path, "items", index), reader, found)
        return
    start = len(reader.errors)
    value = reader.read(node)
    kind = value.get("kind")
    shape, wrong = _shape(value, path)
    if shape and first and kind != "Lab":
        why = "the first document of a lab file must be the Lab (apiVersion: nslab/v1, kind: Lab)"
        wrong = [FieldError((*path, "kind"), why)]
    if kind == "Lab" and found.lab.document is not None:
        wrong = [FieldError((*path, "kind"), "a lab file has one Lab document, and this is another")]
    elif shape:
        wrong += schema.check(value, shape, path)
        if kind == "Lab":
            found.lab = LabDocument(value, int(path[0]))
        else:
            one = Document(value, path)
            if one.kind not in CLUSTER_WIDE:
                one.metadata.setdefault("namespace", "default")
            found.add(one)
    unread = {error.position for error in reader.errors[start:]}
    for each in wrong:
        advice = len(reader.errors) < PROBLEMS_WITH_ADVICE
        error = located(each, reader.file, tree.at(each.path[1:], key=each.key), advice=advice)
        # An error at the position of an unreadable value only follows from that value.
        if error.text and error.position not in unread:
            reader.errors.append(error)


def _shape(value: dict[str, Any], path: FieldPath) -> tuple[Shape | None, list[FieldError]]:
    """The shape of a document's kind; None with an error if the kind is unknown."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if kind == "Lab" and version in (OURS, None):
        return _lab_shape(), [] if version else [FieldError(path, "apiVersion is missing")]
    if kind == "Lab" or (kind and version == OURS):
        versions = (OURS,) if kind == "Lab" else schema.versions_of(str(kind), "")
        return schema.no_match(version, kind, path, versions, ("Lab",))
    return schema.shape_for(version, kind, path)
