"""The kernel's trace of one namespace, as crossings of its hooks (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field, replace
from nslab.probes.evidence import What
from nslab.ruletext.comments import comment_of, without_comment
from nslab.trace.chances import chances
from nslab.trace.observed import Crossing, Header, Match, Visit
from nslab.wire import icmp, nftables, packets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.linux.tracing.kernel_trace import TracedNamespace
    from nslab.linux.tracing.rule_texts import Texts
    from nslab.wire.nftables import Event, ListedRule
    from nslab.wire.packets import DecodedPacket

_FIRST = ("prerouting", "output")
"""The hooks with which a crossing begins."""


@dataclass(slots=True)
class _Open:
    """A packet on its way. `visits`: by table and chain, in order."""

    crossing: Crossing
    visits: list[Visit] = field(default_factory=list)


def crossings(host: str, traced: TracedNamespace, devices: Mapping[int, str], texts: Texts) -> list[Crossing]:
    """The crossings of a host, in order. `devices`: names by number; `texts`: the rules, by table and number."""
    drawn = _drawn(traced.rules, texts)
    bases = {(base.family, base.table, base.name): base for base in traced.chains}
    every: list[_Open] = []
    by_packet: dict[int, _Open] = {}
    for event in traced.events:
        if event.table == traced.table:
            mark = traced.marks.get(event.handle)
            if mark and (event.chain in _FIRST or event.identity not in by_packet):
                header = _header(event)
                if not header:
                    continue
                what = mark.what or _echo(event)
                iif, oif = devices.get(event.iif, ""), devices.get(event.oif, "")
                opened = _Open(Crossing(host, what, mark.tunnelled, iif, oif, header, event.mark))
                by_packet[event.identity] = opened
                every.append(opened)
            continue
        if not (current := by_packet.get(event.identity)):
            continue
        if base := bases.get((event.family, event.table, event.chain)):
            _begin(current, event, base, devices)
        if current.visits:
            _go_on(current, event, texts, drawn)
    return [replace(one.crossing, visits=tuple(one.visits)) for one in every]


def merged(crossings: Iterable[Crossing], others: Iterable[Crossing]) -> list[Crossing]:
    """The crossings, with what another trace of the same packets has seen."""
    by_sight = {(one.host, one.tunnelled, one.iif, one.header): one for one in others}
    both = [_joined(one, by_sight.pop((one.host, one.tunnelled, one.iif, one.header), None)) for one in crossings]
    return [*both, *by_sight.values()]


def _joined(one: Crossing, same: Crossing | None) -> Crossing:
    if not same:
        return one
    visits = sorted((*one.visits, *same.visits), key=lambda visit: (visit.hook, visit.priority))
    return replace(one, oif=one.oif or same.oif, visits=tuple(visits))


def _echo(event: Event) -> What | None:
    """Whether an echo asks or answers; None for what is no echo, or in a tunnel."""
    packet = packets.decode(event.packet + event.segment)
    if not packet or packet.outer or packet.protocol != packets.ICMP:
        return None
    return {icmp.ECHO: What.REQUEST, icmp.ECHO_REPLY: What.REPLY}.get(packet.code[0])


def _header(event: Event) -> Header | None:
    """The header that rules see: of a tunnel's packet the tunnel's; of what is in it, the trace has a few bytes."""
    packet = packets.decode(event.packet + event.segment, inside=False)
    return as_header(packet) if packet else None


def as_header(packet: DecodedPacket) -> Header:
    """A packet's own header."""
    return Header(
        packet.source, packet.target, packet.protocol, packet.ports, packet.ttl, packet.length, packet.identity
    )


def _begin(current: _Open, event: Event, base: nftables.BaseChain, devices: Mapping[int, str]) -> None:
    """A new visit, if this event is the first of a base chain. Only the first event has the packet's bytes."""
    header = _header(event) if event.packet else None
    if not header:
        return
    oif = devices.get(event.oif, "")
    if oif and base.hook != nftables.INPUT:
        current.crossing = replace(current.crossing, oif=oif)
    current.visits.append(Visit(event.table, event.chain, base.hook, base.priority, header, event.mark, (), "accept"))


def _drawn(rules: Iterable[ListedRule], texts: Texts) -> dict[tuple[str, int], float]:
    """The chance of each rule that is drawn, by its table and number."""
    by_chain: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for rule in rules:
        by_chain.setdefault((rule.table, rule.chain), []).append(
            (rule.handle, texts.get((rule.table, rule.handle), ""))
        )
    return {
        (table, number): chance for (table, _), listed in by_chain.items() for number, chance in chances(listed).items()
    }


def _go_on(current: _Open, event: Event, texts: Texts, drawn: Mapping[tuple[str, int], float]) -> None:
    visit = current.visits[-1]
    if event.kind == nftables.POLICY:
        current.visits[-1] = replace(visit, verdict=event.verdict, policy=True)
    elif event.kind == nftables.RULE and event.handle:
        place = event.table, event.handle
        match = _match(event, texts.get(place, ""), drawn.get(place, 1.0))
        verdict = event.verdict if event.verdict in ("accept", "drop", "queue", "stolen") else visit.verdict
        current.visits[-1] = replace(visit, matches=(*visit.matches, match), verdict=verdict, policy=False)


def _match(event: Event, text: str, chance: float) -> Match:
    rule, comment = without_comment(text), comment_of(text)
    return Match(event.table, event.chain, event.verdict, event.target, rule, comment, event.handle, chance)
