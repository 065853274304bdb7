"""The constants of `nft -j`, as numbers and words that compare; and sets and maps of them (pure)."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from nslab.trace.rules import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Single: TypeAlias = int | str
"""A number (an address, too) or a word."""
Kind: TypeAlias = str | tuple[str, ...]
"""How a constant is read: a name of KINDS; of a concatenation, several."""
Span: TypeAlias = tuple[Single, Single]


class Unclear(NamedTuple):
    """A value that nobody knows, and why."""

    name: str


STATES: Final = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
STATUS: Final = {
    "expected": 1, "seen-reply": 2, "assured": 4, "confirmed": 8, "snat": 16, "dnat": 32, "dying": 512,
}  # fmt: skip
_DSCP: Final = {
    "cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56, "df": 0, "be": 0, "lephb": 1,
    "af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22, "af31": 26, "af32": 28, "af33": 30,
    "af41": 34, "af42": 36, "af43": 38, "va": 44, "ef": 46,
}  # fmt: skip


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(str(value))
    return value if isinstance(value, int) else names.number(value)


def _named(table: dict[str, int]) -> Callable[[Any], int]:
    """A number that has a name, or several of them (flags)."""

    def read(value: Any) -> int:
        if isinstance(value, list):
            return _union(map(read, value))
        if isinstance(value, dict) and value.keys() == {"|"}:
            return _union(map(read, value["|"]))
        return table[value] if isinstance(value, str) and value in table else _number(value)

    return read


def _union(bits: Iterable[int]) -> int:
    found = 0
    for one in bits:
        found |= one
    return found


def _word(value: Any) -> str:
    if not isinstance(value, str | int):
        raise ValueError(str(value))
    return str(value)


def _interface(value: Any) -> str:
    """A name; none ("") for 0 and for `missing`."""
    return "" if value in ("0", 0, False) else _word(value)


def _address(value: Any) -> int:
    return names.address(_word(value))


KINDS: Final[dict[str, Callable[[Any], Single]]] = {
    "address": _address,
    "number": _number,
    "port": _number,
    "protocol": _named(names.PROTOCOLS | {"ipencap": 4}),
    "state": _named(STATES),
    "status": _named(STATUS),
    "icmp type": _named(names.ICMP_TYPES),
    "icmp code": _named(names.ICMP_CODES),
    "flags": _named({name.lower(): bits for name, bits in names.TCP_FLAGS.items()} | {"ecn": 64, "cwr": 128}),
    "dscp": _named(_DSCP),
    "mac": lambda value: _word(value).lower(),
    "interface": _interface,
    "any": lambda value: value if isinstance(value, int | str) else 0,
    "word": _word,
}
"""Readers of one constant. They raise ValueError."""


def constant(value: Any, kind: Kind) -> tuple[Span, ...]:
    """A constant as the spans of its dimensions: (x, x) for a single one. Raises ValueError."""
    if isinstance(value, dict) and "elem" in value and isinstance(value["elem"], dict):
        return constant(value["elem"].get("val"), kind)
    if isinstance(kind, tuple):
        parts = value.get("concat") if isinstance(value, dict) else None
        if not isinstance(parts, list) or len(parts) != len(kind):
            raise ValueError("a concatenation of another length")
        return tuple(span(part, one) for part, one in zip(parts, kind, strict=True))
    return (span(value, kind),)


def span(value: Any, kind: str) -> Span:
    """One dimension of a constant: its lowest and highest value. Raises ValueError."""
    match value:
        case {"elem": {"val": inner}}:
            return span(inner, kind)
        case {"range": [first, last]}:
            return KINDS[kind](first), KINDS[kind](last)
        case {"prefix": {"addr": str(base), "len": int(length)}}:
            if kind != "address":
                raise ValueError("a prefix of no address")
            network, mask = names.network(f"{base}/{length}")
            return network, network | ~mask & 0xFFFFFFFF
        case "*":
            raise ValueError("*")
    single = KINDS[kind](value)
    return single, single


def within(value: Single, span: Span) -> bool:
    """Whether a value is in a span. A word's `*` at its end stands for any letters."""
    low, high = span
    if isinstance(value, str) or isinstance(low, str) or isinstance(high, str):
        return value == low or (isinstance(low, str) and low.endswith("*") and str(value).startswith(low[:-1]))
    return low <= value <= high


def parts_of(value: Any) -> tuple[Single | Unclear, ...]:
    """A value's dimensions; what is neither a number nor a word is unclear."""
    parts = value if isinstance(value, tuple) and not isinstance(value, Unclear) else (value,)
    return tuple(part if isinstance(part, int | str | Unclear) else Unclear("what a map has") for part in parts)


def unclear_in(parts: Iterable[Single | Unclear]) -> str:
    """The name of what is unclear of a value; "" if nothing is."""
    return next((part.name for part in parts if isinstance(part, Unclear)), "")


class Elements:
    """The elements of a set or map, by their keys; `data`: what a map has for each, None in a set."""

    def __init__(self, entries: Iterable[tuple[Any, Any]], kind: Kind) -> None:
        self._exact: dict[tuple[Single, ...], Any] = {}
        self._spans: list[tuple[tuple[Span, ...], Any]] = []
        self._sorted: list[tuple[int, int, Any]] = []
        self._partial: dict[tuple[int, ...], dict[tuple[Single, ...], list[Any]]] = {}
        for key, data in entries:
            spans = constant(key, kind)
            if all(low == high and not str(low).endswith("*") for low, high in spans):
                self._exact[tuple(low for low, _ in spans)] = data
            elif len(spans) == 1 and isinstance(spans[0][0], int) and isinstance(spans[0][1], int):
                self._sorted.append((spans[0][0], spans[0][1], data))
            else:
                self._spans.append((spans, data))
        self._sorted.sort(key=lambda entry: entry[:2])
        self._starts = [low for low, _, _ in self._sorted]

    def find(self, key: Sequence[Single | Unclear]) -> list[Any]:
        """The data of the element that has the key; none if there is none. Of a key that is not known in all its parts:
        the data of all elements that it may be."""
        known = tuple(part for part in key if not isinstance(part, Unclear))
        if len(known) < len(key):
            places = tuple(place for place, part in enumerate(key) if not isinstance(part, Unclear))
            ranges = [data for _, _, data in self._sorted]  # of one dimension, which is not known
            others = [data for own, data in self._spans if _may_be(key, own)]
            return [*self._by(places).get(known, ()), *ranges, *others]
        if known in self._exact:
            return [self._exact[known]]
        if self._starts and isinstance(first := known[0], int):
            _, high, data = self._sorted[bisect_right(self._starts, first) - 1]
            return [data] if self._starts[0] <= first <= high else []
        return [data for spans, data in self._spans if _may_be(known, spans)][:1]

    def _by(self, places: tuple[int, ...]) -> dict[tuple[Single, ...], list[Any]]:
        """The data of the elements without ranges, by some of their keys' dimensions."""
        if places not in self._partial:
            found = self._partial[places] = {}
            for key, data in self._exact.items():
                found.setdefault(tuple(key[place] for place in places), []).append(data)
        return self._partial[places]


def _may_be(key: Sequence[Single | Unclear], spans: Sequence[Span]) -> bool:
    return all(isinstance(part, Unclear) or within(part, span) for part, span in zip(key, spans, strict=True))
