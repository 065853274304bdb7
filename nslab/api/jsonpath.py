"""kubectl's JSONPath templates: text with {actions}, each the way to some values (pure).

    {range .items[*]}{.metadata.name}{"\t"}{.spec.ports[?(@.name=="http")].port}{"\n"}{end}

Its rules are those of kubectl (`kubectl get -o jsonpath`), not those of RFC 9535; so are its errors.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nslab.errors import NslabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_QUOTED = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""")
_NUMBER = re.compile(r"[+-]?\d[\d.]*")
_IDENTIFIER = re.compile(r"[^\W][^\s.,\[\]$@{}]*")
_NAME = re.compile(r"\w(?:\\.|[^\s.,\[\]$@{}\\])*")
_FIELD = re.compile(r"(?:\\.|[^\s.,\[\]$@{}\\])*")
_KEY = re.compile(r"'([^']*)'")
_SLICE = re.compile(r"(-?\d*)(?::(-?\d*))?(?::(-?\d*))?")
_COMPARISON = re.compile(r"([^!<>=]+)([!<>=~]+)(.+)", re.DOTALL)
_RELAXED = re.compile(r"\{\.?([^{}]+)\}|\.?([^{}]+)")


class TemplateError(NslabError):
    """A template that cannot be read, or that does not fit the values."""


class LiteralStep(NamedTuple):
    """A text or a number as a value."""

    value: Any


class FieldStep(NamedTuple):
    """The field of an object."""

    name: str


class EveryStep(NamedTuple):
    """All fields or elements; `deep`: the value itself, and all that is in it, at any depth."""

    deep: bool = False


class SliceStep(NamedTuple):
    """Some elements of a list; `one`: the only one at `begin`."""

    begin: int | None
    end: int | None
    step: int | None
    one: bool = False


class UnionStep(NamedTuple):
    """The values of several ways, one after the other."""

    ways: tuple[Way, ...]


class FilterStep(NamedTuple):
    """The elements of a list for which a comparison is true; without an operator, those in which `left` finds any."""

    left: Way
    operator: str = ""
    right: Way = ()


class RangeBlock(NamedTuple):
    """A part of a template for each of the values."""

    way: Way
    body: Template


Step: TypeAlias = LiteralStep | FieldStep | EveryStep | SliceStep | UnionStep | FilterStep
Way: TypeAlias = tuple[Step, ...]
"""From a value, step by step."""
Template: TypeAlias = "tuple[Way | RangeBlock, ...]"
_RANGE, _END = LiteralStep("range"), LiteralStep("end")
"""Marks while a template is read."""


def parse(text: str) -> Template:
    """The template in a text; TemplateError in kubectl's words."""
    try:
        ways = [*_ways(text)]
        body, rest = _nested(ways)
        if rest:
            raise ValueError("not in range, nothing to end")
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"error: error parsing jsonpath {text}, {reason(error)}") from None
    return body


def reason(error: ValueError | RecursionError) -> str:
    """Why a template cannot be read or executed."""
    return "too deeply nested" if isinstance(error, RecursionError) else str(error)


def relaxed(text: str) -> str:
    """A way without braces as --sort-by and custom-columns take it: x.y, .x.y, {x.y} and {.x.y} are one."""
    found = _RELAXED.fullmatch(text)
    if not found:
        meant = "expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
        raise TemplateError(f"error: unexpected path string, {meant}")
    return f"{{.{found[1] or found[2]}}}"


def _nested(ways: Sequence[Way]) -> tuple[Template, Sequence[Way]]:
    """The parts up to the `end` that belongs to a `range` before them, and what follows, from that `end` on."""
    made: list[Way | RangeBlock] = []
    while ways and not any(step is _END for step in ways[0]):
        way, ways = ways[0], ways[1:]
        if any(step is _RANGE for step in way):
            body, rest = _nested(ways)
            made.append(RangeBlock(tuple(step for step in way if step is not _RANGE), body))
            ways = rest[1:]
        else:
            made.append(way)
    return tuple(made), ways


def _ways(text: str) -> Iterator[Way]:
    at = 0
    while at < len(text):
        begin = text.find("{", at)
        if begin != at:
            yield (LiteralStep(text[at : begin if begin >= 0 else len(text)]),)
        if begin < 0:
            return
        way, at = _action(text, begin + 1)
        yield way


def _action(text: str, at: int) -> tuple[Way, int]:
    """The steps up to the closing brace, and the place behind it."""
    way: list[Step] = []
    while not text.startswith("}", at):
        steps, at = _steps(text, at, way)
        way += steps
    return tuple(way), at + 1


def _steps(text: str, at: int, before: Sequence[Step]) -> tuple[Sequence[Step], int]:
    char = text[at : at + 1]
    if char in ("", "\n", "\r"):
        raise ValueError("unclosed action")
    if char in " @$":
        return (), at + 1
    if text.startswith("[?(", at):
        return _filter(text, at + 3)
    if char == "[":
        return _index(text, at)
    if text.startswith("..", at):
        if before and isinstance(before[-1], EveryStep) and before[-1].deep:
            raise ValueError("invalid multiple recursive descent")
        found = _NAME.match(text, at + 2)
        return [EveryStep(deep=True), *([_field(found[0])] if found else [])], found.end() if found else at + 2
    if char == ".":
        found = _FIELD.match(text, at + 1)
        assert found
        return [_field(found[0])], found.end()
    if char in "\"'":
        if not (found := _QUOTED.match(text, at)):
            raise ValueError("unterminated quoted string")
        return [LiteralStep(unquoted(found[0]))], found.end()
    if found := _NUMBER.match(text, at):
        return [LiteralStep(_number(found[0]))], found.end()
    if found := _IDENTIFIER.match(text, at):
        return [_word(found[0])], found.end()
    raise ValueError(f"unrecognized character in action: U+{ord(char):04X} {char!r}")


def _word(word: str) -> LiteralStep:
    known = {"range": _RANGE, "end": _END, "true": LiteralStep(True), "false": LiteralStep(False)}
    if word not in known:
        raise ValueError(f"unrecognized identifier {word}")
    return known[word]


def _field(name: str) -> Step:
    return EveryStep() if name == "*" else FieldStep(name.replace("\\", ""))


def _number(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ValueError(f"cannot parse number {text}") from None


def unquoted(text: str) -> str:
    """The text in quotes, its escapes replaced."""

    def char(found: re.Match[str]) -> str:
        number = found[1] or found[2] or found[3]
        if number and int(number, 16) > 0x10FFFF:
            raise ValueError(f"unquote string {text} error invalid syntax")
        return chr(int(number, 16)) if number else _ESCAPED.get(found[4], found[4])

    return _ESCAPE.sub(char, text[1:-1])


def _index(text: str, at: int) -> tuple[Sequence[Step], int]:
    end = text.find("]", at)
    if end < 0 or "\n" in text[at:end]:
        raise ValueError("unterminated array")
    words = [word.strip() for word in text[at + 1 : end].split(",")]
    ways = [_element(word) for word in words]
    return (ways[0] if len(ways) == 1 else [UnionStep(tuple(ways))]), end + 1


def _element(text: str) -> Way:
    if text == "*":
        return (SliceStep(None, None, None),)
    if found := _KEY.fullmatch(text):
        return _way(f".{found[1]}")
    found = _SLICE.fullmatch(text)
    if not found or not text:
        raise ValueError(f"invalid array index {text}")
    if found[2] is None and found[3] is None:
        return (SliceStep(_known(found[1]), None, None, one=True),)
    return (SliceStep(_known(found[1]), _known(found[2]), _known(found[3])),)


def _known(text: str | None) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        raise ValueError(f"array index {text} is not a number") from None


def _filter(text: str, at: int) -> tuple[Sequence[Step], int]:
    end = at
    while not text.startswith(")", end):
        if end >= len(text) or text[end] == "\n":
            raise ValueError("unterminated filter")
        found = _QUOTED.match(text, end)
        end = found.end() if found else end + 1
    if not text.startswith(")]", end):
        raise ValueError("unclosed array expect ]")
    inside = text[at:end]
    if not (compared := _COMPARISON.fullmatch(inside)):
        return [FilterStep(_way(inside))], end + 2
    return [FilterStep(_way(compared[1]), compared[2], _way(compared[3]))], end + 2


def _way(text: str) -> Way:
    return _action(f"{text}}}", 0)[0]


def as_text(value: Any) -> str:
    """A value as a template prints it: objects and lists as JSON."""
    if isinstance(value, dict | list):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
