"""What a value in a lab file may look like: a few shapes, of which the tables in `fields` are made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Text:
    """A string; when it has a pattern, `what` says in words what the pattern asks for."""

    pattern: str = ""
    what: str = ""
    longest: int = 0
    fits: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fits", re.compile(self.pattern or "(?s:.*)").fullmatch)


@dataclass(frozen=True, slots=True)
class Word:
    """One given word (an apiVersion, a kind); it was looked at before the fields are read."""

    word: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of an enumeration's words."""

    of: type[StrEnum]


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number between two others."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class NumberOrName:
    """A whole number, or a name: a port, as Services and probes may give it."""

    number: Number
    name: Text


@dataclass(frozen=True, slots=True)
class Quantity:
    """A Kubernetes quantity that is not negative (64Mi, 1.5, 500m), as a whole number."""


@dataclass(frozen=True, slots=True)
class Anything:
    """What Kubernetes has and what makes no difference here."""


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address."""


@dataclass(frozen=True, slots=True)
class Network:
    """An IPv4 network, ADDRESS/LENGTH."""


@dataclass(frozen=True, slots=True)
class Many:
    """A list of one shape."""

    of: Shape
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """A list of one shape, or, where there is but one of them, that one by itself."""

    of: Shape


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping from names that the user chooses to one shape."""

    of: Shape
    key: Text = field(default_factory=Text)


@dataclass(frozen=True, slots=True)
class Part:
    """A mapping whose fields count as its parent's own: `metadata`, `spec`."""

    fields: tuple[Field, ...]
    later: frozenset[str] = frozenset()
    known: dict[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", {each.name: each for each in self.fields})


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping that becomes one value: `make` is called with the fields that were there."""

    make: Callable[..., Any]
    fields: tuple[Field, ...]
    later: frozenset[str] = frozenset()
    known: dict[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", {each.name: each for each in self.fields})


Shape: TypeAlias = (
    Text
    | Word
    | Choice
    | Number
    | NumberOrName
    | Quantity
    | Anything
    | Flag
    | Address
    | Network
    | Many
    | OneOrMany
    | Table
    | Part
    | Record
)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a mapping: its name in the file, and the name under which the value goes into what is made."""

    name: str
    into: str
    shape: Shape
    about: str
    required: bool = False


LABEL = Text("[a-z0-9]([-a-z0-9]*[a-z0-9])?", "lower case letters, digits and '-', no '-' first or last", 63)
"""A DNS label (RFC 1123): what Kubernetes asks of most names."""
