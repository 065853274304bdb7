"""What `nft -j list ruleset` prints: the tables that an IPv4 packet meets, and what they have (pure)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from nslab.errors import UsageError
from nslab.ruletext.saved import BUILT_IN, DEPTH, too_deep
from nslab.trace.rules.nft_constants import Elements, Unclear, parts_of, unclear_in
from nslab.trace.rules.nft_values import Drawn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nslab.trace.rules.nft_constants import Kind
    from nslab.trace.rules.nft_values import NftField, ValueReader
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import At

_FILE = "nft.json"
"""The file of a dump that has it."""
LENGTH, OBJECTS = 1 << 28, 2_000_000
"""The maximum number of characters, and of objects."""
FAMILIES: Final = ("ip", "inet", "netdev")
"""The families whose chains IPv4 packets meet at the hooks of routing, and at an interface."""


class ListedChain(NamedTuple):
    """A chain and its rules, as JSON has them."""

    body: dict[str, Any]
    rules: list[dict[str, Any]]


class NftDump:
    """A table."""

    def __init__(self, family: str, name: str, order: int) -> None:
        self.family, self.name, self.order = family, name, order
        self.chains: dict[str, ListedChain] = {}
        self.sets: dict[str, dict[str, Any]] = {}
        self.limits: dict[str, dict[str, Any]] = {}
        self._elements: dict[tuple[str, Kind], Elements] = {}

    def elements(self, data: Any, kind: Kind) -> tuple[Elements, str]:
        """The elements of `@NAME` or of an anonymous set or map, and the name ("" without one). Raises ValueError."""
        if isinstance(data, str) and data.startswith("@"):
            known = self._elements.get((data, kind))
            if known is None:
                known = self._elements[data, kind] = Elements(_entries(self.sets[data[1:]].get("elem", [])), kind)
            return known, data
        return Elements(_entries(data["set"]), kind), ""

    def lookup(self, data: Any, key: NftField) -> ValueReader:
        """What a map has for a key, as JSON; None if it has nothing. Raises ValueError."""
        elements, name = self.elements(data, key.kind)

        def one(value: Any) -> Any:
            if value is None or isinstance(value, Unclear):
                return value
            parts = parts_of(value)
            found = elements.find(parts)
            if found and unclear_in(parts):
                return Unclear(f"an element of {name or 'a map'}")
            return found[0] if found else None

        def read(packet: HookPacket, at: At) -> Any:
            value = key.read(packet, at)
            if isinstance(value, Drawn):
                return Drawn(tuple((chance, one(drawn)) for chance, drawn in value.values))
            return one(value)

        return read


def _entries(elements: Any) -> Iterator[tuple[Any, Any]]:
    """Keys with what a map has for them."""
    for element in elements:
        if isinstance(element, list) and len(element) == 2:
            yield element[0], element[1]
        else:
            yield element, None


Listed: TypeAlias = "Sequence[dict[str, Any]]"
"""The objects of a listing: each a kind with its properties."""


def nft_tables(listed: Listed, iptables: Collection[str]) -> tuple[list[NftDump], dict[str, int]]:
    """The tables of a listing, and the place of those that are iptables' (`iptables`: their names), which nft cannot
    list. Raises UsageError with the place of what nft does not print."""
    found: dict[tuple[str, str], NftDump] = {}
    for number, one in enumerate(listed):
        ((kind, body),) = one.items()
        if kind == "metainfo":
            continue
        family, name = body.get("family"), body.get("name" if kind == "table" else "table")
        if not isinstance(family, str) or not isinstance(name, str):
            raise _wrong(number, "no family and table")
        if kind == "table":
            found[family, name] = NftDump(family, name, len(found))
        elif (family, name) in found:
            _add(number, kind, body, found[family, name])
        else:
            raise _wrong(number, f"{_short(kind)} of a table that is not there")
    for dump in found.values():
        _refuse_loops(dump)
    own = {dump.name: dump.order for dump in found.values() if _is_iptables(dump, iptables)}
    rest = (dump for dump in found.values() if dump.family != "ip" or dump.name not in own)
    return [dump for dump in rest if dump.family in FAMILIES], own


def listing(text: str) -> Listed:
    """The objects of what `nft -j list ruleset` prints. Raises UsageError with the place of what is wrong."""
    if len(text) > LENGTH:
        raise UsageError(f"{_FILE}: more than {LENGTH >> 20} MiB")
    if not text.strip():
        return ()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{_FILE}, line {error.lineno}, column {error.colno}: this is not JSON") from error
    except (ValueError, RecursionError) as error:
        what = "a number" if isinstance(error, ValueError) else "nesting"
        raise UsageError(f"{_FILE}: {what} without end") from error
    objects = whole.get("nftables") if isinstance(whole, dict) else None
    if not isinstance(objects, list) or len(objects) > OBJECTS:
        raise UsageError(f'{_FILE}: no list "nftables", or one without end')
    for number, one in enumerate(objects):
        if not isinstance(one, dict) or len(one) != 1 or not isinstance(next(iter(one.values())), dict):
            raise _wrong(number, "not one kind of object and its properties")
    return objects


def _add(number: int, kind: str, body: dict[str, Any], dump: NftDump) -> None:
    match kind, body:
        case "chain", {"name": str(name)}:
            dump.chains[name] = ListedChain(body, [])
        case "rule", {"chain": str(chain), "expr": list()} if chain in dump.chains:
            dump.chains[chain].rules.append(body)
        case (("set" | "map"), {"name": str(name)}) if isinstance(body.get("elem", []), list):
            dump.sets[name] = body
        case "limit", {"name": str(name)}:
            dump.limits[name] = body
        case (("chain" | "rule" | "set" | "map" | "limit"), _):
            raise _wrong(number, f"a {kind} without what nft prints of it")


def _refuse_loops(dump: NftDump) -> None:
    jumps = {
        name: {to for rule in chain.rules for to in _targets(rule["expr"], dump)} & dump.chains.keys()
        for name, chain in dump.chains.items()
    }
    hooked = [name for name, chain in dump.chains.items() if "hook" in chain.body]
    if loop := too_deep(hooked, jumps, DEPTH):
        first, second = (ascii(name[:60]) for name in loop)
        why = f"chain {first} jumps to {second} in a loop, or more than {DEPTH} jumps deep"
        raise UsageError(f"{_FILE}, table {dump.family} {dump.name[:60]!a}: {why}")


def _targets(expr: Sequence[Any], dump: NftDump) -> Iterator[str]:
    """The chains to which a rule's statements jump."""
    for one in expr:
        match one:
            case {"jump": {"target": str(to)}} | {"goto": {"target": str(to)}}:
                yield to
            case {"vmap": {"data": {"set": [*entries]}}}:
                yield from _targets([verdict for _, verdict in _entries(entries)], dump)
            case {"vmap": {"data": str(name)}} if name[1:] in dump.sets:
                yield from _targets([verdict for _, verdict in _entries(dump.sets[name[1:]].get("elem", []))], dump)


def _is_iptables(dump: NftDump, iptables: Collection[str]) -> bool:
    """Whether iptables-nft made it: `iptables-save` has it, too, and it has no base chains but iptables' own."""
    hooked = {name for name, chain in dump.chains.items() if "hook" in chain.body}
    return dump.family == "ip" and dump.name in iptables and hooked <= {*BUILT_IN.get(dump.name, ())}


def _short(text: str) -> str:
    """A stranger's text in a sentence: printable, and not long."""
    return text[:60] if text[:60].isprintable() else ascii(text[:60])


def _wrong(number: int, sentence: str) -> UsageError:
    return UsageError(f"{_FILE}, object {number + 1}: {sentence}")
