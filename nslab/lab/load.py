"""From a file to a `Lab`, or to everything that is wrong with the file.

The YAML is composed, not constructed: its nodes keep their places, and nothing in a file can make a Python object.
Documents are read one by one and let go, so that a file of ten thousand of them stays light; the places of problems
that show only in the whole (an address used twice) are looked up in a second walk, which only a wrong file needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from nslab.errors import LabFileError, Problem
from nslab.lab.defaults import complete
from nslab.lab.draft import LabDraft, PodDraft, finished
from nslab.lab.fields import KINDS, LATER
from nslab.lab.read import NULL, STR, AliasesError, Reader
from nslab.lab.validate import complaints
from nslab.lab.words import Complaint, did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nslab.lab.read import Node
    from nslab.lab.types import Encapsulation, Lab, ProxyMode

LARGEST = 16 * 1024 * 1024
"""Bytes of a lab file; 10,000 pods are 3 million."""
DEEPEST = 100
"""Levels of nesting; a Pod has about ten. The C parser recurses for each and has no limit of its own."""
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What YAML allows in a stream.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def load(path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None) -> Lab:
    """The lab in a file; the two settings go before what the file says (`up --encapsulation --proxy-mode`)."""
    return parse(_text(path), str(path), encapsulation, proxy_mode)


def parse(text: str, file: str, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None) -> Lab:
    """The lab in a text. `file` is its name in problems."""
    reader = Reader(file, budget=100_000 + 2 * len(text))
    draft = _draft(text, reader)
    draft.encapsulation = encapsulation or draft.encapsulation
    draft.proxy_mode = proxy_mode or draft.proxy_mode
    complete(draft)
    unreadable = {(p.line, p.column) for p in reader.problems}
    # What is wrong with the whole at the place of what could not be read follows from that, and is not worth saying.
    follow = (p for p in _placed(text, file, list(complaints(draft))) if (p.line, p.column) not in unreadable)
    if problems := {*reader.problems, *follow}:
        raise LabFileError(sorted(problems, key=lambda p: (p.line, p.column, p.text)))
    return finished(draft)


def _text(path: Path) -> str:
    """The text of a file."""
    data = b""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) <= LARGEST:
            return data.decode("utf-8-sig")
        raise _failed(str(path), f"the file is larger than {LARGEST // 1024 // 1024} MB")
    except FileNotFoundError:
        raise _failed(str(path), "there is no such file") from None
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        raise _failed(str(path), f"the file is not UTF-8 text ({error.reason})", _place(before, len(before))) from None
    except OSError as error:
        raise _failed(str(path), f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        # A path with a NUL in it.
        raise _failed(shown(str(path)), "there is no such file") from None


def _draft(text: str, reader: Reader) -> LabDraft:
    """What the documents of a stream say, each read by the table of its kind."""
    lab: LabDraft | None = None
    pods: list[PodDraft] = []
    documents = 0
    try:
        for index, root in enumerate(_documents(text, reader.file)):
            if root.id == "scalar" and root.tag == NULL:
                continue  # nothing between two ---
            kind, place = _kind(root, reader)
            if not documents and kind not in (None, "Lab"):
                reader.say(place, "the first document of a lab file must be the Lab (apiVersion: nslab/v1, kind: Lab)")
            documents += 1
            if kind == "Lab" and lab is not None:
                reader.say(place, "a lab file has one Lab document, and this is another")
            elif kind == "Lab":
                lab = reader.read(root, KINDS[kind].record)
                lab.document = index
            elif kind == "Pod":
                pods.append(reader.read(root, KINDS[kind].record))
                pods[-1].document = index
    except AliasesError as bomb:
        reader.say(bomb.node, "aliases repeat far more than the file holds; write out what you mean")
    except LabFileError as error:
        reader.problems += error.problems
    else:
        if not documents:
            text = "the file is empty; a lab file begins with a Lab document"
            reader.problems.append(Problem(reader.file, 1, 1, text))
    draft = lab or LabDraft()
    draft.pods = pods
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
        reader.say(version, f"apiVersion: a {kind} is {KINDS[kind].api_version}, and this is {shown(version.value)}")
    return kind, place


def _documents(text: str, file: str) -> Iterator[Node]:
    """The documents of a stream as trees of nodes, each let go before the next."""
    if unprintable := UNPRINTABLE.search(text):
        at = unprintable.start()
        raise _failed(file, f"the character {text[at]!a} cannot be in YAML", _place(text, at))
    _refuse_depth(text, file)
    loader = LOADER(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _yaml_error(file, error) from None
    finally:
        loader.dispose()


def _refuse_depth(text: str, file: str) -> None:
    """Refuse a document nested so deeply that composing it would overflow the C stack.

    A level needs a bracket, or a column of its own (two levels: a list may stand in its parent's column). That bound is
    cheap, and only where it is high (long lines, large documents in braces) the levels are counted for certain.
    """
    columns = 2 * max(map(len, text.splitlines()), default=0)
    if all(part.count("[") + part.count("{") + columns <= 1000 for part in re.split("(?m)^---", text)):
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST and (mark := event.start_mark):
                raise _failed(file, f"nested more than {DEEPEST} levels deep", (mark.line + 1, mark.column + 1))
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # composing meets the same error, after the documents before it


def _yaml_error(file: str, error: Exception) -> LabFileError:
    """The parser's complaint as a problem with its place."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        text = ", ".join(filter(None, (error.context, error.problem)))
        if "\\t" in text or "cannot start any token" in text:
            text += " (YAML is indented with spaces; tabs, @ and ` need quotes)"
        return _failed(file, f"this is not YAML: {text}", (mark.line + 1, mark.column + 1) if mark else (1, 1))
    return _failed(file, f"this is not YAML: {error}")


def _placed(text: str, file: str, found: list[Complaint]) -> Iterator[Problem]:
    """Complaints with the places of what they are about."""
    wanted = {path for complaint in found for path in (complaint.path, complaint.first) if path}
    places = dict(_places(text, file, wanted)) if wanted else {}
    for complaint in found:
        line, column = places.get(complaint.path, (1, 1))
        first = f" (see line {places.get(complaint.first, (1, 1))[0]})" if complaint.first else ""
        yield Problem(file, line, column, complaint.text + first + did_you_mean(complaint.word, complaint.known))


def _places(text: str, file: str, paths: Iterable[tuple[int | str, ...]]) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Line and column of each path (document, field, field, index …), or of the nearest thing above that is written."""
    by_document: dict[int | str, list[tuple[int | str, ...]]] = {}
    for path in paths:
        by_document.setdefault(path[0], []).append(path)
    try:
        for index, root in enumerate(_documents(text, file)):
            for path in by_document.pop(index, ()):
                mark = _descend(root, path[1:]).start_mark
                yield path, (mark.line + 1, mark.column + 1)
            if not by_document:
                return
    except LabFileError:
        return  # the stream breaks off further on, which was noted


def _descend(node: Node, path: tuple[int | str, ...]) -> Node:
    """The node at a path, or the last one on the way."""
    for step in path:
        below: Node | None
        if isinstance(step, int):
            below = node.value[step] if node.id == "sequence" and step < len(node.value) else None
        else:
            below = next((v for k, v in node.value if k.value == step), None) if node.id == "mapping" else None
        if below is None:
            break
        node = below
    return node


def _place(text: str, at: int) -> tuple[int, int]:
    """Line and column of a position in a text."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _failed(file: str, text: str, place: tuple[int, int] = (1, 1)) -> LabFileError:
    """One problem that ends the reading."""
    return LabFileError([Problem(file, *place, text)])
