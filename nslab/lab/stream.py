"""What the documents of a stream say, each read by the table of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.errors import LabFileError, Problem
from nslab.lab.documents import documents
from nslab.lab.draft import DeploymentDraft, LabDraft
from nslab.lab.fields import KINDS, LATER
from nslab.lab.read import NULL, STR, AliasesError, Reader
from nslab.lab.words import shown

if TYPE_CHECKING:
    from typing import Any

    from nslab.lab.read import Node


def reader_of(text: str, file: str) -> Reader:
    """A reader with a budget that fits the text. `file` is its name in problems."""
    return Reader(file, budget=100_000 + 2 * len(text))


def read_stream(text: str, reader: Reader, *, lab_first: bool = True) -> LabDraft:
    """The draft of a lab file; or of some objects, with or without a Lab. What is wrong is noted in the reader."""
    lab: LabDraft | None = None
    objects: dict[str, list[Any]] = {kind: [] for kind in KINDS if kind != "Lab"}
    read = 0
    try:
        for index, root in enumerate(documents(text, reader.file)):
            if root.id == "scalar" and root.tag == NULL:
                continue  # nothing between two ---
            kind, place = _kind(root, reader)
            if lab_first and not read and kind not in (None, "Lab"):
                reader.say(place, "the first document of a lab file must be the Lab (apiVersion: nslab/v1, kind: Lab)")
            read += 1
            if kind == "Lab" and lab is not None:
                reader.say(place, "a lab file has one Lab document, and this is another")
            elif kind == "Lab":
                lab = reader.read(root, KINDS[kind].record)
                lab.document = index
            elif kind in objects:
                one = reader.read(root, KINDS[kind].record)
                one.document = index
                if isinstance(one, DeploymentDraft):
                    one.template.document, one.template.inside = index, ("spec", "template")
                objects[kind].append(one)
    except AliasesError as bomb:
        reader.say(bomb.node, "aliases repeat far more than the file holds; write out what you mean")
    except LabFileError as error:
        reader.problems += error.problems
    else:
        if not read:
            why = "a lab file begins with a Lab document" if lab_first else "there is no object in it"
            reader.problems.append(Problem(reader.file, 1, 1, f"the file is empty; {why}"))
    draft = lab or LabDraft()
    draft.pods, draft.services = objects["Pod"], objects["Service"]
    draft.slices, draft.deployments = objects["EndpointSlice"], objects["Deployment"]
    return draft


def _kind(root: Node, reader: Reader) -> tuple[str | None, Node]:
    """The kind of a document, or None with a problem noted; and where it says so."""
    reader.path.clear()
    if root.id != "mapping":
        reader.say(root, "a document of a lab file must be a mapping with apiVersion and kind")
        return None, root
    said = {key.value: value for key, value in root.value if key.id == "scalar" and value.id == "scalar"}
    place = said.get("kind", root)
    kind = place.value if place is not root and place.tag == STR else ""
    if not kind:
        reader.say(place, f"kind is missing; it is one of {', '.join(KINDS)}")
        return None, place
    if kind in LATER:
        reader.say(place, f"nslab does not support kind {kind} yet; remove the document")
        return kind, place
    if kind not in KINDS:
        reader.say(place, f"unknown kind {shown(kind)}", kind, tuple(KINDS))
        return None, place
    version = said.get("apiVersion")
    if version is not None and version.value != KINDS[kind].api_version:
        right = KINDS[kind].api_version
        reader.say(version, f"apiVersion: a {kind} is {right}, and this is {shown(version.value)}")
    return kind, place
