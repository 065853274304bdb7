"""Shapes: validators compiled from a JSON Schema.

A walk through a value finds all errors, each with its path, and removes whatever does not fit the schema, so that later
code need not check types again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nslab.api import quantity
from nslab.api.scalars import LETTERS, UNREADABLE, looks, what
from nslab.api.words import did_you_mean, dotted, quoted, shown
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nslab.api.values import Node
    from nslab.errors import FieldPath

GONE = object()
"""The result of a shape's check for an unreadable value."""
INTEGERS = {"int32": (-(2**31), 2**31 - 1)}
ANY_INTEGER = (-(2**63), 2**64 - 1)


class Walk:
    """One walk through a document: its current path and the errors found."""

    def __init__(self, path: FieldPath = ()) -> None:
        self.start, self.path = path, list[int | str]()
        self.found: list[FieldError] = []

    @property
    def here(self) -> str:
        """The current field, such as spec.nodes[0].name."""
        return dotted(self.path) or "the document"

    def say(self, text: str, word: str = "", known: tuple[str, ...] = (), *, key: bool = False) -> bool:
        """Note an error at the current field, and return False."""
        self.found.append(FieldError((*self.start, *self.path), text, word=word, known=known, key=key))
        return False

    def tell(self, value: Any, text: Callable[[Node], str]) -> bool:
        """Note an error with a message that quotes the value's node; an empty message is no error. Return False."""
        self.found.append(FieldError((*self.start, *self.path), text, value=value))
        return False

    def must(self, value: Any, be: str) -> bool:
        """Note that a value has the wrong type."""
        here = self.here
        return self.tell(value, lambda node: f"{here} must be {be}, and this is {what(node)}")

    def quote(self, value: Any, text: str) -> bool:
        """Note an error whose message quotes the value in place of {}."""
        here = self.here
        return self.tell(value, lambda node: f"{here}: {text.replace('{}', shown(node.value))}")


class Shape:
    """A validator; the base class accepts any value. Values of the type `plain` are valid without a check."""

    plain: type | None = None
    stand_in: Any = UNREADABLE
    """Replaces an unreadable item of a list; a type stands for a new empty value of it."""

    zero: Any = None
    """The value that Go, in which Kubernetes is written, has for a field that nobody set."""

    def is_zero(self, value: Any) -> bool:
        """Whether it is that value."""
        return value is not None and value.__class__ is self.zero.__class__ and value == self.zero

    def check(self, value: Any, walk: Walk) -> Any:
        """The valid part of a value, or GONE; notes the errors."""
        return value if self.right(value, walk) else GONE

    def right(self, _value: Any, _walk: Walk) -> bool:
        """Whether a value is valid; if not, notes the error."""
        return True

    def null(self, walk: Walk, *, required: bool) -> None:
        """A null counts as a missing field; notes an error if the field is required."""
        here = walk.here
        if required:
            walk.tell(
                None,
                lambda node: (
                    f"{here}: {shown(node.value)} means nothing in YAML; write {quoted(node.value)} if that is meant"
                    if getattr(node, "value", "") and node.id == "scalar"
                    else f"{here} is missing"
                ),
            )


class TextShape(Shape):
    """A string; `$comment` describes its pattern in words."""

    zero = ""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.pattern: str | re.Pattern[str] = schema.get("pattern", "")
        self.words: str = schema.get("$comment", "")
        self.longest: int = schema.get("maxLength", 1 << 30)
        self.needed = "minLength" in schema
        self.plain = str if schema.keys() <= {"type", "format", "description"} else None

    def check(self, value: Any, walk: Walk) -> Any:
        if not isinstance(value, str):
            return self._wrong(value, walk)
        if self.needed and not value:
            walk.say(f"{walk.here} is missing")
        elif len(value) > self.longest:
            walk.quote(value, f"{{}} has {len(value)} characters, and {self.longest} is the limit")
        elif self.pattern and not self.fits(value):
            dots = "; dots are not allowed" if self.words.endswith("first or last") and "." in value else ""
            walk.quote(value, f"{{}} must be {self.words}{dots}")
        return value

    def fits(self, value: str) -> bool:
        """Whether a string matches the pattern."""
        if isinstance(self.pattern, str):
            self.pattern = re.compile(self.pattern)  # on first use: compiling takes as long as reading a file
        return self.pattern.fullmatch(value) is not None

    def _wrong(self, value: Any, walk: Walk) -> Any:
        if isinstance(value, dict | list):
            walk.must(value, "text")
            return GONE
        here = walk.here

        def sentence(node: Node) -> str:
            if not node.value:
                return f'{here} is empty; write "" if empty text is meant'
            word = node.value
            return f"{here}: {shown(word)} is {looks(node)} in YAML, and text is needed; write {quoted(word)}"

        walk.tell(value, sentence)
        return str(value).lower()


class AddressShape(Shape):
    """An IPv4 address, or a network (ADDRESS/LENGTH)."""

    zero = ""

    def __init__(self, what: str, fault: Callable[[str], str]) -> None:
        self.what, self.fault = what, fault

    def right(self, value: Any, walk: Walk) -> bool:
        if isinstance(value, dict | list):
            return walk.must(value, self.what)
        if isinstance(value, str) and not self.fault(value):
            return True
        here = walk.here
        return walk.tell(value, lambda node: f"{here}: {self.fault(node.value)}")


class Choice(Shape):
    """One word of an enumeration."""

    zero = ""

    def __init__(self, words: Iterable[str]) -> None:
        self.of = tuple(words)

    def check(self, value: Any, walk: Walk) -> Any:
        # YAML reads a release, 3.30, as a number.
        release = f"{value:.2f}" if isinstance(value, float) else ""
        return release if release in self.of else super().check(value, walk)

    def right(self, value: Any, walk: Walk) -> bool:
        if isinstance(value, dict | list):
            return walk.must(value, f"one of {', '.join(self.of)}")
        if value in self.of:
            return True
        here = walk.here
        return walk.tell(
            value, lambda node: f"{here}: unknown value {shown(node.value)}{did_you_mean(node.value, self.of)}"
        )

    def null(self, walk: Walk, *, required: bool) -> None:
        here = walk.here
        advice = f"write one of {', '.join(self.of)}, or leave it out"
        missing = f"{here} is missing" if required else ""
        walk.tell(
            None, lambda node: f"{here}: {shown(node.value)} means nothing in YAML; {advice}" if node.value else missing
        )


class Number(Shape):
    """An integer in a range, or any number. `otherwise` replaces an unreadable one."""

    zero = 0

    def __init__(self, schema: Mapping[str, Any]) -> None:
        low, high = INTEGERS.get(schema.get("format", ""), ANY_INTEGER)
        self.low, self.high = schema.get("minimum", low), schema.get("maximum", high)
        self.types = (int,) if schema["type"] == "integer" else (int, float)
        self.otherwise = schema.get("otherwise", GONE)

    def check(self, value: Any, walk: Walk) -> Any:
        return value if self.right(value, walk) else self.otherwise

    def right(self, value: Any, walk: Walk) -> bool:
        if isinstance(value, bool) or not isinstance(value, self.types):
            digits = isinstance(value, str) and value.isascii() and value.isdigit()
            hint, kind = "; write it without quotes" if digits else "", "a whole" if isinstance(value, float) else "a"
            here = walk.here
            return walk.tell(value, lambda node: f"{here} must be {kind} number, and this is {what(node)}{hint}")
        good = self.low <= value <= self.high
        return good or walk.quote(value, f"{{}} is out of range; it goes from {self.low} to {self.high}")


class Flag(Shape):
    """true or false."""

    plain = bool

    def check(self, value: Any, walk: Walk) -> Any:
        if isinstance(value, str) and value in LETTERS:
            return LETTERS[value]
        return value if walk.must(value, "true or false") else GONE


class NumberOrText(Shape):
    """An integer or a name: the port of a Service or a probe."""

    def __init__(self, number: Shape, text: Shape) -> None:
        self.number, self.text = number, text

    def check(self, value: Any, walk: Walk) -> Any:
        return (self.text if isinstance(value, str) else self.number).check(value, walk)


class Quantity(Shape):
    """A Kubernetes quantity: 64Mi, 1.5, 500m."""

    def __init__(self, *, negative: bool = True) -> None:
        self.negative = negative

    def right(self, value: Any, walk: Walk) -> bool:
        if isinstance(value, dict | list):
            return walk.must(value, "a quantity")
        word = str(value).removeprefix("-") if self.negative else str(value)
        good = not isinstance(value, bool) and quantity.whole(word) is not None
        return good or walk.quote(value, "{} is not a quantity; write 64Mi, 1.5G, 500m or a plain number")


class Resource(Shape):
    """The name of a resource: one of Kubernetes' own, or an extended one (nvidia.com/gpu)."""

    known = ("memory", "cpu", "ephemeral-storage")

    def right(self, value: Any, walk: Walk) -> bool:
        good = value in self.known or "/" in value or value.startswith("hugepages-")
        return good or walk.say(f"unknown field {walk.here}", value, self.known)
