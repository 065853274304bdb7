"""The documents of a stream: what each of them is, and all of them read along the schema of their kind."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from nslab.api import rules, schema
from nslab.api.documents import KEPT, Tree, documents, told
from nslab.api.values import PROBLEMS_WITH_ADVICE, AliasesError, Reader
from nslab.api.words import Complaint, quoted
from nslab.dataclass import dataclass, field
from nslab.errors import LabFileError, Problem
from nslab.lab.lab_document import LabDocument

if TYPE_CHECKING:
    from nslab.api.shapes import Shape
    from nslab.api.words import Path

ACTED_ON = {"Service": "services", "EndpointSlice": "slices", "Deployment": "deployments", "Pod": "pods"}
"""The kinds that nslab acts on, and where a lab has their objects; `others` are kept."""
CLUSTER_WIDE = rules.names(
    """
    APIService CSIDriver CSINode CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle
    CustomResourceDefinition DeviceClass FlowSchema IPAddress IngressClass Namespace Node PersistentVolume PriorityClass
    PriorityLevelConfiguration RuntimeClass ServiceCIDR StorageClass VolumeAttachment VolumeAttributesClass
    """
)
"""Kinds whose objects are in no namespace."""
OURS = "nslab/v1"
_OPEN: dict[str, Any] = {"additionalProperties": True}
FOREIGN = {
    **rules.fields(
        apiVersion=rules.text("[a-z0-9][-a-z0-9.]*/v[a-z0-9]+", "GROUP/VERSION", 253),
        kind=rules.text("[A-Z][A-Za-z0-9]*", "a word of letters, the first a capital", 63),
        metadata={**rules.fields(name=rules.NAME, namespace=rules.LABEL), "required": ["name"], **_OPEN},
    ),
    "required": ["metadata"],
    **_OPEN,
}
"""What is asked of an object of another group: that it can be named."""


@dataclass(slots=True)
class Document:
    """An object of the API, whole, as a plain value that is defaulted in place; and where the stream has it.

    `made`: nslab made it, of what stands there (a replica of its Deployment). `view`: what nslab makes of it.
    """

    value: dict[str, Any]
    path: Path = (KEPT,)
    made: bool = False
    view: Any = None

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.value["kind"])

    @property
    def metadata(self) -> dict[str, Any]:
        """What it is called."""
        return self.value.setdefault("metadata", {})  # type: ignore[no-any-return]

    @property
    def spec(self) -> dict[str, Any]:
        """What it is to be."""
        return self.value.setdefault("spec", {})  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """Its name, or ""."""
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        """Its namespace; "" for what is in none."""
        return "" if self.kind in CLUSTER_WIDE else str(self.metadata.get("namespace", "default"))

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.get("labels", {})  # type: ignore[no-any-return]


@dataclass(slots=True)
class Documents:
    """The objects of a stream, or of a lab, by what nslab makes of them."""

    lab: LabDocument = field(default_factory=lambda: LabDocument({}, None))
    pods: list[Document] = field(default_factory=list)
    services: list[Document] = field(default_factory=list)
    slices: list[Document] = field(default_factory=list)
    deployments: list[Document] = field(default_factory=list)
    others: list[Document] = field(default_factory=list)

    def add(self, one: Document) -> None:
        """Put an object where those of its kind are."""
        getattr(self, ACTED_ON.get(one.kind, "others")).append(one)

    def objects(self) -> list[Document]:
        """All of them."""
        return [*self.services, *self.slices, *self.deployments, *self.pods, *self.others]


@cache
def lab_schema() -> dict[str, Any]:
    """The JSON Schema of the Lab document: what it is read by, and what `nslab schema` prints."""
    text = FilePath(__file__).with_name("lab.schema.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def _lab_shape() -> Shape:
    return schema.compiled(lab_schema())


@cache
def _foreign() -> Shape:
    return schema.compiled(FOREIGN)


def read_stream(text: str, reader: Reader, *, lab_first: bool = True) -> Documents:
    """The documents of a lab file; or some objects, with or without a Lab. What is wrong is noted in the reader."""
    found, read = Documents(), 0
    try:
        for index, root in enumerate(documents(text, reader.file)):
            if root.id == "scalar" and reader.read(root) is None:
                continue  # nothing between two ---
            _read(Tree(root), (index,), reader, found, first=lab_first and not read)
            read += 1
    except AliasesError as bomb:
        reader.say(bomb.node, "aliases repeat far more than the file holds; write out what you mean")
    except LabFileError as error:
        reader.problems += error.problems
    else:
        if not read:
            why = "a lab file begins with a Lab document" if lab_first else "there is no object in it"
            reader.problems.append(Problem(reader.file, 1, 1, f"the file is empty; {why}"))
    return found


def _read(tree: Tree, path: Path, reader: Reader, found: Documents, *, first: bool = False) -> None:
    """Read one document, or the items of a List. `first`: it is to be the Lab."""
    node = tree.at(path[1:])
    if node.id != "mapping":
        reader.say(node, "a document of a lab file must be a mapping with apiVersion and kind")
        return
    start = len(reader.problems)
    value = reader.read(node)
    version, kind = value.get("apiVersion"), value.get("kind")
    if kind == "List" and version == "v1" and isinstance(value.get("items"), list):
        for index in range(len(value["items"])):
            _read(tree, (*path, "items", index), reader, found)
        return
    shape, complaints = _shape(value, path)
    if shape and first and kind != "Lab":
        why = "the first document of a lab file must be the Lab (apiVersion: nslab/v1, kind: Lab)"
        complaints = [Complaint((*path, "kind"), why)]
    if kind == "Lab" and found.lab.document is not None:
        complaints = [Complaint((*path, "kind"), "a lab file has one Lab document, and this is another")]
    elif shape:
        complaints += schema.check(value, shape, path)
        if kind == "Lab":
            found.lab = LabDocument(value, int(path[0]))
        else:
            one = Document(value, path)
            if one.kind not in CLUSTER_WIDE:
                one.metadata.setdefault("namespace", "default")
            found.add(one)
    unread = {(problem.line, problem.column) for problem in reader.problems[start:]}
    for wrong in complaints:
        advice = len(reader.problems) < PROBLEMS_WITH_ADVICE
        problem = told(wrong, reader.file, tree.at(wrong.path[1:], key=wrong.key), advice=advice)
        # What is wrong at the place of what could not be read follows from that.
        if problem.text and (problem.line, problem.column) not in unread:
            reader.problems.append(problem)


def _shape(value: dict[str, Any], path: Path) -> tuple[Shape | None, list[Complaint]]:
    """What a document looks like, by its kind and version; None with a complaint if there is no such kind."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if not isinstance(kind, str) or not kind:
        return None, [Complaint((*path, "kind"), "kind is missing: Pod, Service, Deployment and so on")]
    known = schema.kinds()
    if kind == "Lab" and version in (OURS, None):
        return _lab_shape(), [] if version else [Complaint(path, "apiVersion is missing")]
    if not isinstance(version, str) or not version:
        missing = Complaint((*path, "apiVersion"), "apiVersion is missing")
        versions = schema.versions_of(kind, "")
        return (schema.shape_of(versions[0], kind) if versions else None), [missing]
    if (version, kind) in known:
        return schema.shape_of(version, kind), []
    if version != OURS and not schema.own(version):
        return _foreign(), []
    at: Path = (*path, "apiVersion")
    text = f"no matches for kind {quoted(kind)} in version {quoted(version)}"
    versions = (OURS,) if kind == "Lab" else schema.versions_of(kind, version.rpartition("/")[0])
    if versions:
        return None, [Complaint(at, f"{text}; write {versions[0]}")]
    names = ("Lab",) if version == OURS else schema.names(version)
    return None, [Complaint((*path, "kind"), text, word=kind, known=names)]
