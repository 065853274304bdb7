"""Reading one YAML document by its table of fields: values come out, problems are noted at their places.

A field that is absent, or that cannot be read, is left out: what is made of the mapping has a default for it. Reading
goes on after a problem, so that one run tells them all.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, assert_never

from nslab.errors import Problem
from nslab.lab import quantity
from nslab.lab.shapes import (
    Address,
    Anything,
    Choice,
    Field,
    Flag,
    Many,
    Network,
    Number,
    NumberOrName,
    OneOrMany,
    Part,
    Quantity,
    Record,
    Shape,
    Table,
    Text,
    Word,
)
from nslab.lab.words import did_you_mean, quoted, shown

if TYPE_CHECKING:
    from typing import TypeAlias

    from yaml.nodes import MappingNode, ScalarNode, SequenceNode

    Node: TypeAlias = ScalarNode | SequenceNode | MappingNode

YAML = "tag:yaml.org,2002:"
STR, NULL, BOOL, INT, FLOAT, MAP, SEQ, MERGE = (
    YAML + name for name in ("str", "null", "bool", "int", "float", "map", "seq", "merge")
)
# YAML 1.1 gives a type to plain scalars by their looks: `on` and `no` are booleans, 1:30 is ninety, 2026-01-01 a date.
LOOKS = {
    BOOL: "a boolean",
    INT: "a number",
    FLOAT: "a number",
    YAML + "timestamp": "a date",
    NULL: "nothing",
    MERGE: "a merge key",
    YAML + "value": "a default value",
}
UNFIT = re.compile("[\0\ud800-\udfff]")
"""Arguments, names and variables are C strings of UTF-8."""
UNREADABLE = "?"
"""Stands for text with a problem; no lab comes of it."""
PROBLEMS_WITH_ADVICE = 200
"""So many problems get a `did you mean`; looking for it is by far the slowest part of a sentence."""


class AliasesError(Exception):
    """Aliases blow the document up beyond what its text can stand for."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node


class Reader:
    """One walk through a file. `budget` is how many values it may meet; an alias counts as often as it is used."""

    def __init__(self, file: str, budget: int) -> None:
        self.file, self.budget = file, budget
        self.problems: list[Problem] = []
        self.path: list[str] = []

    def say(self, node: Node, text: str, word: str = "", known: tuple[str, ...] = ()) -> None:
        """Note what is wrong at a node; `word` may be a misspelling of one of the `known`."""
        advice = did_you_mean(word, known) if len(self.problems) < PROBLEMS_WITH_ADVICE else ""
        mark = node.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, text + advice))

    @property
    def here(self) -> str:
        """The field that is being read, as a person would write it: spec.nodes[0].name."""
        return ".".join(self.path).replace(".[", "[") or "the document"

    def inside(self, name: str) -> str:
        """A field of what is being read."""
        return ".".join((*self.path, shown(name))).replace(".[", "[")

    def read(self, node: Node, shape: Shape) -> Any:
        """The value of a node, or None with a problem noted."""
        self.budget -= 1
        if self.budget < 0:
            raise AliasesError(node)
        match shape:
            case Text():
                return self._text(node, shape)
            case Record(make, _, _):
                return make(**self._fields(node, shape))
            case Many(of, at_least):
                return self._many(node, of, at_least)
            case Number(low, high):
                return self._number(node, low, high)
            case Table(of, key):
                return self._table(node, of, key)
            case Choice(of):
                return self._choice(node, tuple(map(str, of)), of)
            case Address():
                return self._address(node)
            case Network():
                return self._network(node)
            case Flag():
                return self._flag(node)
            case Word(word):
                return word if self._is(node, "scalar", STR, word) else None
            case Part():
                return self._fields(node, shape)
            case NumberOrName(number, name):
                is_text = node.id == "scalar" and node.tag == STR
                return self._text(node, name) if is_text else self._number(node, number.low, number.high)
            case OneOrMany(of):
                if node.id == "sequence":
                    return self._many(node, of, at_least=1) or (UNREADABLE,)
                value = self.read(node, of)
                return (UNREADABLE if value is None else value,)
            case Quantity():
                return self._quantity(node)
            case Anything():
                return None
            case missing:
                assert_never(missing)

    def pairs(self, node: Node) -> dict[str, tuple[Node, Node]] | None:
        """The fields of a mapping, each with its key and value; a field given twice counts once."""
        if not self._is(node, "mapping", MAP, "a mapping"):
            return None
        found: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            self.budget -= 1
            if key.id != "scalar" or key.tag not in (STR, *LOOKS):
                self.say(key, f"{self.here}: a field's name must be plain text")
            elif key.tag == MERGE:
                self.say(key, f"{self.here}: merge keys (<<) are not supported; write the fields out")
            elif key.value in found:
                first = found[key.value][0].start_mark.line + 1
                self.say(key, f"{self.inside(key.value)} is given twice (first in line {first})")
            else:
                found[key.value] = (key, value)
        if self.budget < 0:
            raise AliasesError(node)
        return found

    def _fields(self, node: Node, shape: Record | Part) -> dict[str, Any]:
        known = shape.known
        made: dict[str, Any] = {}
        if (pairs := self.pairs(node)) is None:
            return made
        for name, (key, value) in pairs.items():
            if field := known.get(name):
                self.path.append(name)
                self._field(value, field, made)
                self.path.pop()
            elif name not in shape.later:
                self.say(key, f"unknown field {self.inside(name)}", name, tuple(known))
            elif not _asks_for_nothing(value):
                self.say(key, f"nslab does not support {self.inside(name)} yet; remove it")
        for field in shape.fields:
            if field.required and field.name not in pairs:
                self.say(node, f"{self.inside(field.name)} is missing")
        return made

    def _field(self, node: Node, field: Field, made: dict[str, Any]) -> None:
        """Put the value of one field where it belongs. Nothing (null) is as good as no field, as in Kubernetes."""
        if node.id == "scalar" and node.tag == NULL:
            nothing = f"{self.here}: {shown(node.value)} means nothing in YAML"
            if node.value and isinstance(field.shape, Choice):
                self.say(node, f"{nothing}; write one of {', '.join(field.shape.of)}, or leave it out")
            elif node.value and field.required:
                self.say(node, f"{nothing}; write {quoted(node.value)} if that is meant")
            elif field.required:
                self.say(node, f"{self.here} is missing")
            return
        value = self.read(node, field.shape)
        value = field.otherwise if value is None else value
        if field.required and value == "" and isinstance(field.shape, Text) and not field.shape.pattern:
            self.say(node, f"{self.here} is missing")
        if isinstance(field.shape, Part):
            made.update(value)
        elif value is not None and field.into:
            made[field.into] = value

    def _is(self, node: Node, kind: str, tag: str, what: str) -> bool:
        """Whether a node is of a kind; a problem is noted when it is not."""
        if node.id != kind:
            self.say(node, f"{self.here} must be {what}, and this is {_what(node)}")
        elif node.tag != tag and not (kind == "scalar" and node.tag in (STR, *LOOKS)):
            tag = shown(node.tag.replace(YAML, "!!"))
            self.say(node, f"{self.here}: the tag {tag} is not allowed; lab files have plain YAML only")
        else:
            return True
        return False

    def _many(self, node: Node, of: Shape, at_least: int) -> tuple[Any, ...] | None:
        if not self._is(node, "sequence", SEQ, "a list"):
            # A command that cannot be read is there all the same: nobody should be told that it is missing.
            return (UNREADABLE,) if isinstance(of, Text) else None
        if len(node.value) < at_least:
            self.say(node, f"{self.here} is empty; it needs at least {at_least}")
        values = []
        for index, item in enumerate(node.value):
            self.path.append(f"[{index}]")
            # What cannot be read keeps its place: problems found later are looked up by index.
            value = self.read(item, of)
            values.append(UNREADABLE if value is None else value)
            self.path.pop()
        return tuple(values)

    def _table(self, node: Node, of: Shape, name: Text) -> dict[str, Any]:
        table = {}
        for word, (key, value) in (self.pairs(node) or {}).items():
            self.path.append(shown(word))
            self.read(key, name)
            if (entry := self.read(value, of)) is not None:
                table[word] = entry
            self.path.pop()
        return table

    def _text(self, node: Node, shape: Text, what: str = "text") -> str | None:
        if not self._is(node, "scalar", STR, what):
            return None
        word: str = node.value
        if node.tag == NULL and not word:
            self.say(node, f'{self.here} is empty; write "" if empty text is meant')
        elif node.tag != STR:
            looks = LOOKS[node.tag]
            self.say(node, f"{self.here}: {shown(word)} is {looks} in YAML, and text is needed; write {quoted(word)}")
        elif UNFIT.search(word):
            self.say(node, f"{self.here}: {shown(word)} has a character that no program can be given")
            return None
        elif shape.longest and len(word) > shape.longest:
            self.say(node, f"{self.here}: {shown(word)} has {len(word)} characters, and {shape.longest} is the limit")
        elif shape.pattern and not shape.fits(word):
            dots = "; dots are not allowed" if shape.what.endswith("first or last") and "." in word else ""
            self.say(node, f"{self.here}: {shown(word)} must be {shape.what}{dots}")
        return word

    def _choice(self, node: Node, words: tuple[str, ...], of: Any) -> Any:
        if not self._is(node, "scalar", STR, f"one of {', '.join(words)}"):
            return None
        if node.value in words:
            return of(node.value)
        self.say(node, f"{self.here}: unknown value {shown(node.value)}", node.value, words)
        return None

    def _number(self, node: Node, low: int, high: int) -> int | None:
        if not self._is(node, "scalar", INT, "a number"):
            return None
        word: str = node.value
        if node.tag != INT:
            hint = "; write it without quotes" if word.isascii() and word.isdigit() else ""
            self.say(node, f"{self.here} must be a number, and this is {_what(node)}{hint}")
        elif not re.fullmatch("-?(0|[1-9][0-9]*)", word):
            # In YAML 1.1, 010 is eight and 80:80 is 4880.
            self.say(node, f"{self.here}: {shown(word)} is not a plain decimal number")
        elif len(word) > 10 or not low <= int(word) <= high:
            self.say(node, f"{self.here}: {shown(word)} is out of range; it goes from {low} to {high}")
        else:
            return int(word)
        return None

    def _flag(self, node: Node) -> bool | None:
        if not self._is(node, "scalar", BOOL, "true or false"):
            return None
        if node.tag == BOOL and node.value.lower() in ("true", "false"):
            return bool(node.value.lower() == "true")
        self.say(node, f"{self.here} must be true or false, and this is {_what(node)}")
        return None

    def _quantity(self, node: Node) -> int | None:
        if not self._is(node, "scalar", STR, "a quantity"):
            return None
        word: str = node.value
        number = quantity.whole(word) if node.tag in (STR, INT, FLOAT) else None
        if number is None:
            self.say(node, f"{self.here}: {shown(word)} is no quantity; write 64Mi, 1.5G, 500m or a plain number")
        elif node.tag == INT and re.match("0[0-9]", word):
            self.say(node, f"{self.here}: {shown(word)} is not a plain decimal number")
        else:
            return number
        return None

    def _address(self, node: Node) -> IPv4Address | None:
        if not self._is(node, "scalar", STR, "an IPv4 address"):
            return None
        if fault := address_fault(node.value):
            self.say(node, f"{self.here}: {fault}")
            return None
        return IPv4Address(node.value)

    def _network(self, node: Node) -> IPv4Network | None:
        if not self._is(node, "scalar", STR, "an IPv4 network"):
            return None
        word: str = node.value
        address, slash, length = word.partition("/")
        if fault := address_fault(address):
            self.say(node, f"{self.here}: {fault}")
        elif not slash:
            self.say(node, f"{self.here}: {word} has no length; write {word}/24, say")
        elif not re.fullmatch("[0-9]|[12][0-9]|3[0-2]", length):
            self.say(node, f"{self.here}: {shown(word)} has no length from 0 to 32 behind its /")
        elif (network := IPv4Network(word, strict=False)).network_address != IPv4Address(address):
            self.say(node, f"{self.here}: {word} is an address in a network, and the network itself is {network}")
        else:
            return network
        return None


def address_fault(word: str) -> str:
    """What is wrong with an IPv4 address, or "". 192.168.59.022 is a fault: to some programs it is 18, to others 22."""
    parts = word.split(".")
    if ":" in word and re.fullmatch("[0-9A-Fa-f:.]+", word):
        return f"{shown(word)} is no IPv4 address; nslab's networks are IPv4 only"
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,20}", part) for part in parts):
        return f"{shown(word)} is not an IPv4 address"
    if zeros := [part for part in parts if part != "0" and part.startswith("0")]:
        return f"{shown(word)} is not an IPv4 address: write {int(zeros[0])} instead of {zeros[0]}"
    if high := [part for part in parts if int(part) > 255]:
        return f"{shown(word)} is not an IPv4 address: {high[0]} is more than 255"
    return ""


def _asks_for_nothing(node: Node) -> bool:
    """`kubectl create --dry-run=client -o yaml` writes `creationTimestamp: null` and `resources: {}`."""
    return bool(node.tag == NULL if node.id == "scalar" else not node.value)


def _what(node: Node) -> str:
    """What a node is, in words."""
    if node.id != "scalar":
        return {"mapping": "a mapping", "sequence": "a list"}[node.id]
    if node.tag == STR:
        return f"the text {quoted(node.value)}"
    return f"{LOOKS.get(node.tag, 'something else')} ({shown(node.value)})" if node.value else "nothing"
