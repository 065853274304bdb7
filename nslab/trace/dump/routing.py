"""A dumped node's routing: its rules (ip-rule(8)) in order, its tables, and what they answer for a packet (pure)."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final, NamedTuple

from nslab.trace.hops import BLACKHOLE, NO_ROUTE, PROHIBITED, UNREACHABLE
from nslab.trace.observed import RouteTaken
from nslab.trace.rules import names
from nslab.trace.rules.packet import HookPacket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.trace.dump.files import Dump, JsonEntry

_REFUSALS: Final = {
    "blackhole": BLACKHOLE, "unreachable": UNREACHABLE, "prohibit": PROHIBITED,
    "broadcast": "a broadcast is not forwarded", "multicast": "a multicast is not followed",
}  # fmt: skip
"""Types of route by which no packet goes on, with the reason."""
_DEFAULT_RULES: Final = ("local", "main", "default")
_KNOWN: Final = frozenset(
    ("priority", "not", "src", "srclen", "dst", "dstlen", "iif", "oif", "fwmark", "fwmask", "table", "action", "goto",
     "suppress_prefixlen", "ipproto", "tos", "protocol", "iif_detached", "oif_detached", "unresolved", "dport",
     "dport_start", "dport_end", "flags")
)  # fmt: skip
UNCLEAR: Final = 4
"""The maximum number of rules that are not clear, of which both ways are followed."""
_ANY: Final = IPv4Network("0.0.0.0/0")


class NextHop(NamedTuple):
    """Where a route leads. `far`: its gateway, if that has no IPv4 address."""

    dev: str
    via: IPv4Address | None
    onlink: bool
    weight: int = 1
    far: str = ""


class DumpedRoute(NamedTuple):
    """A route of a table, with its next hops (one, or several of which the kernel draws by a hash)."""

    kind: str
    to: IPv4Network
    hops: tuple[NextHop, ...]
    protocol: str
    metric: int
    source: IPv4Address | None
    tos: int


class DumpedRule(NamedTuple):
    """A rule. `unclear`: what of it nobody can know of a packet; `goto`: the priority to go on with."""

    priority: int
    source: IPv4Network
    to: IPv4Network
    iif: str
    oif: str
    mark: tuple[int, int]
    ports: tuple[int, int]
    protocol: int
    tos: int
    negated: bool
    action: str
    table: str
    goto: int
    suppress: int
    unclear: str


class RouteChoice(NamedTuple):
    """What routing may answer. `chance`: None if it depends on `doubts`; `source`: that the route prefers."""

    taken: RouteTaken
    chance: Fraction | None = Fraction(1)
    doubts: tuple[str, ...] = ()
    source: IPv4Address | None = None


class Routing:
    """The rules and tables of a node."""

    def __init__(self, dump: Dump) -> None:
        written = (_rule(entry) for entry in dump.entries("rule.json") if "l3mdev" not in entry.fields)
        self._rules = sorted(written, key=lambda rule: rule.priority)
        self._rules = self._rules or [_default_rule(place, name) for place, name in enumerate(_DEFAULT_RULES)]
        self._tables: dict[str, dict[int, dict[int, list[DumpedRoute]]]] = {}
        for entry in dump.entries("route.json"):
            if not _is_six(entry):
                route = _route(entry)
                lengths = self._tables.setdefault(entry.text("table", "main"), {})
                own = lengths.setdefault(route.to.prefixlen, {})
                own.setdefault(int(route.to.network_address), []).append(route)

    def choices(self, packet: HookPacket, iif: str = "") -> list[RouteChoice]:
        """The answers for a packet, which came in at `iif`, or which the node sends ("")."""
        found = [*self._from(0, packet, iif, ())]
        if len({(one.taken, one.source) for one in found}) == 1:  # whether an unclear rule matches changes nothing
            return [RouteChoice(found[0].taken, source=found[0].source)] if len(found) > 1 else found
        return found

    def _from(self, place: int, packet: HookPacket, iif: str, doubts: tuple[str, ...]) -> Iterator[RouteChoice]:
        """The answers of the rules from a place on. A rule that is not clear matches, or does not."""
        while place < len(self._rules):
            rule, place = self._rules[place], place + 1
            fits = _fits(rule, packet, iif)
            if fits and rule.unclear:
                doubts = (*doubts, rule.unclear)
                if len(doubts) <= UNCLEAR:
                    yield from self._from(place, packet, iif, doubts)
            elif fits is rule.negated:
                continue
            if rule.action == "goto":
                later = range(place, len(self._rules))
                place = next((at for at in later if self._rules[at].priority >= rule.goto), place)
            elif rule.action in _REFUSALS:
                yield RouteChoice(RouteTaken(error=_REFUSALS[rule.action]), None if doubts else Fraction(1), doubts)
                return
            elif route := self._in_table(rule, packet):
                yield from _chosen(route, doubts)
                return
        yield RouteChoice(RouteTaken(error=NO_ROUTE), None if doubts else Fraction(1), doubts)

    def _in_table(self, rule: DumpedRule, packet: HookPacket) -> DumpedRoute | None:
        """The longest prefix wins first, then the lowest metric (ip-route(8)); `throw` ends the table's search."""
        if rule.action == "nop":
            return None
        lengths, address = self._tables.get(rule.table, {}), int(packet.destination)
        for length in sorted(lengths, reverse=True):
            mask = 0xFFFFFFFF << (32 - length) & 0xFFFFFFFF
            fitting = [one for one in lengths[length].get(address & mask, ()) if one.tos in (0, packet.tos & 0x1C)]
            if fitting:
                best = min(fitting, key=lambda route: (-route.tos, route.metric))
                return None if best.kind == "throw" or length <= rule.suppress else best
        return None

    def direct(self, address: IPv4Address) -> tuple[str, int] | None:
        """The interface behind which a neighbour has the address, and the route's length; None if there is none."""
        taken = self.choices(HookPacket(address, address))[0].taken
        if taken.error or taken.via or taken.kind != "unicast" or taken.to is None:
            return None
        return taken.dev, taken.to.prefixlen


def _fits(rule: DumpedRule, packet: HookPacket, iif: str) -> bool:
    """Whether a packet has all that a rule asks for, as far as that is clear."""
    value, mask = rule.mark
    low, high = rule.ports
    return (
        packet.source in rule.source
        and packet.destination in rule.to
        and rule.iif in ("", iif or "lo")
        and not rule.oif  # that is for sockets bound to an interface
        and packet.mark & mask == value
        and rule.protocol in (0, packet.protocol)
        and low <= packet.destination_port <= high
        and rule.tos in (0, packet.tos & 0x1C)
    )


def _chosen(route: DumpedRoute, doubts: tuple[str, ...]) -> Iterator[RouteChoice]:
    """A route's next hops, each with its chance."""
    if route.kind in _REFUSALS:
        yield RouteChoice(RouteTaken(error=_REFUSALS[route.kind]), None if doubts else Fraction(1), doubts)
        return
    total = sum(hop.weight for hop in route.hops)
    for hop in route.hops:
        unclear = (*doubts, f"a route via {hop.far}") if hop.far else doubts
        chance = None if unclear else Fraction(hop.weight, total)
        dev, protocol = ("lo", "kernel") if route.kind == "local" else (hop.dev, route.protocol)
        to = IPv4Network(route.to) if route.kind != "local" else route.to
        taken = RouteTaken(route.kind, to, hop.via, dev, protocol, onlink=hop.onlink)
        yield RouteChoice(taken, chance, unclear, route.source)


def _is_six(entry: JsonEntry) -> bool:
    """Whether it is a route of IPv6, which `ip route show table all` lists, too."""
    return "pref" in entry.fields or ":" in entry.text("dst") or entry.text("dst").startswith("multicast")


def _route(entry: JsonEntry) -> DumpedRoute:
    kind = entry.text("type", "unicast")
    below = entry.listed("nexthops") or [entry]
    if kind not in ("unicast", "local", "throw", *_REFUSALS):
        raise entry.wrong(f"no type of route: {kind[:40]!a}")
    hops = tuple(_next_hop(one) for one in below if not one.words("flags") & {"dead"})
    source = entry.address("prefsrc") if ":" not in entry.text("prefsrc") else None
    return DumpedRoute(
        kind if hops else "unreachable", entry.network("dst"), hops, entry.text("protocol", "boot"),
        entry.number("metric"), source, entry.number("tos") if "tos" in entry.fields else 0,
    )  # fmt: skip


def _next_hop(entry: JsonEntry) -> NextHop:
    far = entry.below("via").text("host") if "via" in entry.fields else ""
    weight = max(entry.number("weight", 1), 1)
    return NextHop(entry.dev("dev"), entry.address("gateway"), "onlink" in entry.words("flags"), weight, far)


def _default_rule(place: int, table: str) -> DumpedRule:
    priority = (0, 32766, 32767)[place]
    return DumpedRule(priority, _ANY, _ANY, "", "", (0, 0), (0, 65535), 0, 0, False, "", table, 0, -1, "")


def _rule(entry: JsonEntry) -> DumpedRule:
    unknown = [name for name in entry.fields if name not in _KNOWN]
    priority, mark = entry.number("priority"), entry.number("fwmark")
    mask = entry.number("fwmask", 0xFFFFFFFF) if "fwmark" in entry.fields else 0
    if "goto" in entry.fields and entry.number("goto") <= priority:
        raise entry.wrong("goto leads backwards")
    first = entry.number("dport_start") if "dport_start" in entry.fields else entry.number("dport")
    last = entry.number("dport_end", first) if first else 65535
    return DumpedRule(
        priority, _selector(entry, "src"), _selector(entry, "dst"), entry.dev("iif"), entry.dev("oif"),
        (mark & mask, mask), (first, last), _protocol(entry), entry.number("tos"), "not" in entry.fields,
        _action(entry), entry.text("table", "main"), entry.number("goto"),
        entry.number("suppress_prefixlen") if "suppress_prefixlen" in entry.fields else -1,
        f"ip rule {priority} ({', '.join(sorted(unknown))[:60]})" if unknown else "",
    )  # fmt: skip


def _action(entry: JsonEntry) -> str:
    if "goto" in entry.fields:
        return "goto"
    return entry.text("action").lower()


def _selector(entry: JsonEntry, name: str) -> IPv4Network:
    base, length = entry.text(name, "all"), entry.number(f"{name}len", 32)
    found = entry.network(name, "all")
    if base in ("all", "default") or "/" in base:
        return found
    if length > 32:
        raise entry.wrong(f"{name}len is more than 32")
    return IPv4Network((found.network_address, length), strict=False)


def _protocol(entry: JsonEntry) -> int:
    try:
        return names.protocol(entry.text("ipproto", "0"))
    except ValueError as error:
        raise entry.wrong("ipproto is no protocol") from error
