"""A YAML stream as trees of nodes, document by document, with positions.

The YAML is composed, not constructed: its nodes keep their positions, and no file can create a Python object.
Documents are read and freed one by one, so that a file of ten thousand needs little memory. A second pass, which only
an invalid file needs, looks up the positions of errors that concern several documents (an address used twice).
"""

from __future__ import annotations

import json
import operator
import re
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from nslab.api.document import EXISTING, STDIN
from nslab.api.scalars import PLAIN, STR, written
from nslab.api.values import DEEPEST, MAP, PROBLEMS_WITH_ADVICE, SEQ, Source
from nslab.api.words import did_you_mean, shown
from nslab.errors import FieldError, LabFileError, Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from nslab.api.values import Node
    from nslab.errors import FieldPath

LARGEST = 16 * 1024 * 1024
"""The maximum size of a lab file in bytes; 10,000 pods are 3 million, 10,000 Services with EndpointSlices 6 million."""


def loader(base: Any) -> type[Any]:
    """A safe loader whose scalar nodes are tagged as plain or as strings; `scalars` resolves the plain ones."""

    class Loader(base):  # type: ignore[misc]
        """Composes nodes; constructs no objects."""

        # Called once a node each, and of no use here: tags do not depend on the path. Built-in functions are faster.
        descend_resolver, ascend_resolver = operator.is_, dict

        def resolve(self, kind: Any, _value: str, implicit: Any) -> str:
            """The tag of a node without an explicit one."""
            if kind is ScalarNode:
                return PLAIN if implicit[0] else STR
            return MAP if kind is MappingNode else SEQ

    return Loader


LOADER: type[Any] = loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader))
PYTHON_LOADER: type[Any] = loader(yaml.SafeLoader)
"""PyYAML's own parser: thirty times slower, and it reads a surrogate's escape, which libyaml refuses."""
PAIR = re.compile(
    r"(?<!\\)(?P<before>(?:\\\\)*)\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
)
"""A character outside the basic plane in JSON's escapes: a surrogate pair."""
# The characters that YAML does not allow in a stream.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


MANIFESTS = (".yaml", ".yml", ".json")
"""The suffixes of the files that kubectl reads in a folder."""


def sources_of(path: Path) -> tuple[Source, ...]:
    """The texts of a file, of all manifests in a folder (like `kubectl apply -f FOLDER`), or of standard input."""
    if not path.is_dir():
        return (Source("standard input" if str(path) == STDIN else str(path), text_of(path)),)
    files = sorted(file for file in path.iterdir() if file.suffix in MANIFESTS and file.is_file())
    if not files:
        raise failed(str(path), f"the folder has no file whose name ends in {', '.join(MANIFESTS)}")
    return tuple(Source(str(file), text_of(file)) for file in files)


def text_of(path: Path) -> str:
    """The text of a file, or of standard input. Raises LabFileError if it cannot be read."""
    data = b""
    try:
        with sys.stdin.buffer if str(path) == STDIN else path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) <= LARGEST:
            return data.decode("utf-8-sig")
        raise failed(str(path), f"the file is larger than {LARGEST // 1024 // 1024} MB")
    except FileNotFoundError:
        raise failed(str(path), "there is no such file") from None
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        raise failed(str(path), f"the file is not UTF-8 text ({error.reason})", _place(before, len(before))) from None
    except OSError as error:
        raise failed(str(path), f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        # A path with a NUL in it.
        raise failed(shown(str(path)), "there is no such file") from None


def documents(text: str, file: str) -> Iterator[Node]:
    """The documents of a stream as trees of nodes, each freed before the next. Raises LabFileError."""
    # What Python calls printable may be in YAML, and the pattern takes twenty times as long.
    if not text.replace("\n", "").isprintable() and (unprintable := UNPRINTABLE.search(text)):
        at = unprintable.start()
        raise failed(file, f"the character {text[at]!a} cannot be in YAML", _place(text, at))
    kind, text = _readable(text)
    _refuse_depth(text, file)
    loader = kind(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _yaml_error(file, error) from None
    finally:
        loader.dispose()


def _readable(text: str) -> tuple[type[Any], str]:
    """The loader for a text, and the text as that loader reads it.

    JSON writes a character outside the basic plane as two escapes, YAML as one. In JSON all quotes are double, so that
    the pairs can be replaced (what follows in the line moves by two columns); in YAML, quotes are for a parser to find.
    """
    if "\\u" not in text or not PAIR.search(text):
        return LOADER, text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return PYTHON_LOADER, text
    return LOADER, PAIR.sub(lambda pair: f"{pair['before']}\\U{_code(pair['high'], pair['low']):08X}", text)


def _code(high: str, low: str) -> int:
    """The code point of a surrogate pair in hexadecimal."""
    return 0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF)


def numbered(sources: Iterable[Source]) -> Iterator[tuple[int, str, Node]]:
    """The documents of several sources, each with its index among all and its file."""
    number = count()
    for file, text in sources:
        yield from ((next(number), file, root) for root in documents(text, file))


def _refuse_depth(text: str, file: str) -> None:
    """Refuse a document nested so deeply that composing it would overflow the C stack.

    Each level needs a bracket or a column of its own (two levels share a column: a list may be in its parent's). This
    upper bound is cheap; only if it is high (long lines, large documents in braces), the exact depth is computed.
    """
    columns = 2 * max(map(len, text.split("\n")))
    if _brackets(text) + columns <= 1000:
        return
    if all(_brackets(part) + columns <= 1000 for part in re.split("(?m)^---", text)):
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST and (mark := event.start_mark):
                raise failed(file, f"nested more than {DEEPEST} levels deep", (mark.line + 1, mark.column + 1))
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # composing meets the same error, after the documents before it


def _brackets(text: str) -> int:
    return text.count("[") + text.count("{")


def _yaml_error(file: str, error: Exception) -> LabFileError:
    """The YAML parser's error with its position."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        text = ", ".join(filter(None, (error.context, error.problem)))
        if "\\t" in text or "cannot start any token" in text:
            text += " (YAML is indented with spaces; tabs, @ and ` need quotes)"
        return failed(file, f"this is not YAML: {text}", (mark.line + 1, mark.column + 1) if mark else (1, 1))
    return failed(file, f"this is not YAML: {error}")


def positioned(sources: Sequence[Source], errors: list[FieldError]) -> Iterator[FieldError]:
    """The errors with their positions in the text."""
    wanted = {path for one in errors for path in ((one.path, one.key), (one.first, False)) if path[0][:1] > (EXISTING,)}
    nodes = dict(_nodes(sources, wanted)) if wanted else {}
    nowhere = sources[0].file, None
    for number, one in enumerate(errors):
        (file, node), (_, first) = nodes.get((one.path, one.key), nowhere), nodes.get((one.first, False), nowhere)
        yield located(one, file, node, first, advice=number < PROBLEMS_WITH_ADVICE)


def located(
    error: FieldError, file: str, node: Node | None, first: Node | None = None, *, advice: bool = True
) -> FieldError:
    """An error with the position of a node; of the file's start without a node."""
    text = sentence(error, node)
    if error.first[:1] > (EXISTING,):
        text += f" (see line {first.start_mark.line + 1 if first else 1})"
    line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node else (1, 1)
    if error.path == (EXISTING,):
        line = column = 0
    text += did_you_mean(error.word, error.known) if advice else ""
    return FieldError(error.path, text, position=Position(file, line, column))


def sentence(error: FieldError, node: Node | None = None) -> str:
    """An error's message, which quotes a node, or a value that is in no file."""
    return error.text if isinstance(error.text, str) else error.text(node or written(error.value))


def _nodes(
    sources: Iterable[Source], places: Iterable[tuple[FieldPath, bool]]
) -> Iterator[tuple[tuple[FieldPath, bool], tuple[str, Node]]]:
    """The node at each path (document, field, field, index …), or its nearest existing parent."""
    by_document: dict[int | str, list[tuple[FieldPath, bool]]] = {}
    for place in places:
        by_document.setdefault(place[0][0], []).append(place)
    try:
        for index, file, root in numbered(sources):
            if index in by_document:
                tree = Tree(root)
                yield from (((path, key), (file, tree.at(path[1:], key=key))) for path, key in by_document.pop(index))
            if not by_document:
                return
    except LabFileError:
        return  # a later syntax error, which the first pass reported


class Tree:
    """A document with fast look-up of many paths."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self._fields: dict[int, dict[str, tuple[Node, Node]]] = {}

    def at(self, path: FieldPath, *, key: bool = False) -> Node:
        """The node at a path, or its nearest existing parent; with `key`, the node of the field's name."""
        name = node = self.root
        for step in path:
            found: tuple[Node, Node] | None = None
            if isinstance(step, str) and node.id == "mapping":
                if id(node) not in self._fields:
                    # Of duplicate fields the first counts.
                    self._fields[id(node)] = {k.value: (k, v) for k, v in reversed(node.value) if k.id == "scalar"}
                found = self._fields[id(node)].get(step)
            elif isinstance(step, int) and node.id == "sequence" and step < len(node.value):
                found = (node.value[step],) * 2
            if found is None:
                break
            name, node = found
        return name if key else node


def _place(text: str, at: int) -> tuple[int, int]:
    """Line and column (from 1) of an offset in a text."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def failed(file: str, text: str, place: tuple[int, int] = (1, 1)) -> LabFileError:
    """An error that ends the reading of a file."""
    return LabFileError([FieldError((), text, position=Position(file, *place))])
