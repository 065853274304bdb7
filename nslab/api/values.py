"""Converts the nodes of a YAML document to a plain value: mappings, lists and scalars, as in JSON.

The reader notes what YAML allows and an API server refuses (duplicate fields, tags, names that are not text). It copies
an alias's value, so that a default filled in at one place does not appear at another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from nslab.api.scalars import KINDS, PLAIN, STR, UNREADABLE, YAML, value
from nslab.api.words import did_you_mean, dotted, quoted, shown
from nslab.errors import FieldError, Position

if TYPE_CHECKING:
    from nslab.errors import FieldPath

    Node: TypeAlias = ScalarNode | SequenceNode | MappingNode

MAP, SEQ = YAML + "map", YAML + "seq"
SCALARS: dict[str, tuple[type, ...]] = {
    YAML + "int": (int,),
    YAML + "float": (int, float),
    YAML + "bool": (bool,),
    YAML + "null": (type(None),),
}
"""Explicit tags that are allowed for values of their type."""
MERGE = "<<"
UNFIT = re.compile("[\0\ud800-\udfff]")
"""Characters that cannot occur in arguments, names and variables, which are C strings in UTF-8."""
DEEPEST = 100
"""The maximum depth of nesting; a Pod has about ten levels."""
PROBLEMS_WITH_ADVICE = 200
"""The number of errors with a `did you mean`; the search is by far the slowest part of a message."""


class AliasesError(Exception):
    """Aliases expand the document far beyond the size of its text."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node


class Source(NamedTuple):
    """A text and its name in error messages."""

    file: str
    text: str


class _PlainValues(dict[str, Any]):
    """The values of plain scalars by their text, each computed once."""

    def __missing__(self, word: str) -> Any:
        self[word] = found = value(word)
        return found


class Reader:
    """One walk through files. `budget`: the number of values it may read; an alias counts each time it is used.

    `file`: the current one.
    """

    def __init__(self, *sources: Source) -> None:
        self.sources, self.file = sources, sources[0].file
        self.budget = 100_000 + 2 * sum(len(one.text) for one in sources)
        self.errors: list[FieldError] = []
        self.plain = _PlainValues()
        self.names: dict[str, str] = {}
        # Only an escape sequence can produce an unfit character.
        self.escapes = any("\\" in one.text for one in sources)

    def say(self, node: Node, text: str, word: str = "", known: tuple[str, ...] = ()) -> None:
        """Note an error at a node; `word` may be a misspelling of one of the `known`."""
        advice = did_you_mean(word, known) if len(self.errors) < PROBLEMS_WITH_ADVICE else ""
        mark = node.start_mark
        position = Position(self.file, mark.line + 1, mark.column + 1)
        self.errors.append(FieldError((), text + advice, position=position))

    def read(self, node: Node, path: FieldPath = ()) -> Any:
        """The value of a node."""
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self.budget -= 1 + len(node.value)
        if self.budget < 0 or len(path) > DEEPEST:
            raise AliasesError(node)
        if node.tag != (MAP if isinstance(node, MappingNode) else SEQ):
            self._tag(node, path)
        return self._mapping(node, path) if isinstance(node, MappingNode) else self._sequence(node, path)

    def _mapping(self, node: MappingNode, path: FieldPath) -> dict[str, Any]:
        made: dict[str, Any] = {}
        plain, names, simple = self.plain, self.names, not self.escapes
        merged: list[Node] = []
        for key, item in node.value:
            name = names.get(key.value) if key.tag == PLAIN else None
            if name is None and key.value == MERGE and key.tag == PLAIN:
                merged += item.value if isinstance(item, SequenceNode) else (item,)
                continue
            if name is None and (name := self._name(key, path)) is None:
                continue
            if name in made:
                first = next(one for one, _ in node.value if one.value == key.value).start_mark.line + 1
                self.say(key, f"{dotted((*path, name))} is given twice (first in line {first})")
            elif item.tag == PLAIN:
                made[name] = plain[item.value]
            elif item.tag == STR and simple and item.__class__ is ScalarNode:
                made[name] = item.value
            else:
                made[name] = self.read(item, (*path, name))
        for item in merged:
            made = {**self._merged(item, path), **made}
        return made

    def _merged(self, node: Node, path: FieldPath) -> dict[str, Any]:
        """The fields of a merge key, for missing fields only. Of several mappings, earlier ones take precedence."""
        if isinstance(node, MappingNode):
            found: dict[str, Any] = self.read(node, path)
            return found
        self.say(node, f"{dotted(path) or 'the document'}: a merge key (<<) takes a mapping, or a list of them")
        return {}

    def _sequence(self, node: SequenceNode, path: FieldPath) -> list[Any]:
        return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]

    def _name(self, key: Node, path: FieldPath) -> str | None:
        """The name of a field; None if unreadable. A number is a valid name; true, false and null are errors."""
        here = dotted(path) or "the document"
        if not isinstance(key, ScalarNode) or key.tag not in (PLAIN, STR):
            self.say(key, f"{here}: a field's name must be plain text")
            return None
        word: str = key.value
        found = self._scalar(key, path)
        if isinstance(found, bool) or found is None:
            here, seems = dotted((*path, word)), KINDS[type(found)]
            self.say(key, f"{here}: {shown(word)} is {seems} in YAML, and text is needed; write {quoted(word)}")
            return word
        if key.tag == PLAIN:
            self.names[word] = str(found)
        return str(found)

    def _scalar(self, node: ScalarNode, path: FieldPath) -> Any:
        word: str = node.value
        if node.tag == PLAIN:
            return self.plain[word]
        if node.tag == STR:
            if self.escapes and UNFIT.search(word := _paired(word)):
                text = f"{shown(word)} has a character that no program can be given"
                self.say(node, f"{dotted(path) or 'the document'}: {text}")
                return UNREADABLE
            return word
        found = value(word)
        if isinstance(found, SCALARS.get(node.tag, ())):
            return found
        self._tag(node, path)
        return UNREADABLE

    def _tag(self, node: Node, path: FieldPath) -> None:
        tag = shown(node.tag.replace(YAML, "!!"))
        self.say(
            node, f"{dotted(path) or 'the document'}: the tag {tag} is not allowed; lab files have plain YAML only"
        )


def _paired(word: str) -> str:
    """The word with each surrogate pair, two escapes, as the one character that it stands for."""
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
