"""A journey as text, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.policy.release import FELIX_BITS
from nslab.trace.hops import TRANSLATIONS, Action, End
from nslab.trace.observed import PROTOCOLS
from nslab.trace.translations import path
from nslab.wire.packets import ICMP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.hops import Hop, Journey
    from nslab.trace.observed import ConntrackEntry, Header, Match

_FILTER = 0
"""The priority of the base chains that filter, in nft as in iptables; the others rather change packets."""
_VERDICTS = {Action.DROP: "drop", Action.REJECT: "reject", Action.LOST: "lost"}
"""What becomes of the packet; after all else that a host does, it goes on."""
_STOPS = (Action.DROP, Action.REJECT, Action.LOST)


def title(journey: Journey) -> str:
    """What is traced, in one line."""
    aim = journey.target
    to = f"{aim.address}:{aim.port}" if aim.port else f"{aim.address}"
    meant = f"Service {aim.service}" if aim.service else aim.host or aim.name
    return f"{journey.source} to {meant} ({to}), {aim.kind}" if meant else f"{journey.source} to {to}, {aim.kind}"


def asked_names(journey: Journey) -> list[str]:
    """A line for each question to DNS."""
    return [
        f"{one.server} is asked for {one.name}: {', '.join(map(str, one.addresses)) or one.error}"
        for one in journey.names
    ]


def lines(journey: Journey, *, reply: bool = True) -> Iterator[tuple[str, str]]:
    """The lines of all hops, each with its role: host, hop, stop, cause or command."""
    yield from _lines(journey.hops, reply=reply)
    if journey.relay:
        yield "host", "kube-proxy's own connection, for this one"
        yield from _lines(journey.relay, reply=reply)


def _lines(hops: Sequence[Hop], *, reply: bool) -> Iterator[tuple[str, str]]:
    host = ""
    shown = [hop for hop in hops if reply or not hop.reply]
    width = max((len(_what(hop)) for hop in shown), default=0)
    turned = False
    for number, hop in enumerate(shown, 1):
        if hop.reply and not turned:
            turned = True
            yield "host", "the ICMP error" if _is_error(hops) else "the reply"
            host = ""
        if hop.host != host:
            host = hop.host
            yield "host", f"  {host}"
        yield "stop" if hop.action in _STOPS else "hop", f"{number:>4}  {_what(hop):<{width}}  {_packet(hop)}"
        for cause in (*_cause(hop).splitlines(), *_accepted(hop)):
            yield "cause", f"{'':6}{cause}"
        if hop.command:
            yield "command", f"{'':6}$ {hop.command}"


def _is_error(hops: Sequence[Hop]) -> bool:
    """Whether what comes back is an ICMP error, and not an answer: that of an echo has its identifier."""
    return {(hop.header.protocol, hop.header.identity) for hop in hops if hop.reply} == {(ICMP, 0)}


def _what(hop: Hop) -> str:
    return hop.action.value if hop.action in TRANSLATIONS else f"{hop.action.value} {_where(hop)}"


def _where(hop: Hop) -> str:
    match hop.action:
        case Action.RECEIVE | Action.ENTER | Action.DECAPSULATE | Action.DROP | Action.REJECT | Action.LOST:
            return f"at {hop.dev}"
        case _:
            return f"to {hop.dev}" if hop.action is not Action.SEND else f"from {hop.dev}"


def _packet(hop: Hop) -> str:
    header = hop.header
    text = f"{header}"
    if hop.before:
        text = _change(hop.before, header)
    size = f"ttl {header.ttl}, {_length(hop)}" if header.ttl else ""
    outer = f" {_tunnel(hop.action, hop.outer)}" if hop.outer else ""
    # Felix's own bits mean something within its chains only.
    bits = hop.mark & ~FELIX_BITS
    mark = f", mark {bits:#x}" if bits and hop.action in (Action.FORWARD, Action.SNAT) else ""
    return f"{text}{outer}  {size}{mark}" if hop.action not in TRANSLATIONS else f"{text}{mark}"


def _tunnel(action: Action, outer: Header) -> str:
    where = "out of" if action is Action.DECAPSULATE else "in"
    return f"{where} [{outer.source} -> {outer.target} {PROTOCOLS.get(outer.protocol, '')}]"


def _length(hop: Hop) -> str:
    """The packet's length as `dev` carries it: a tunnel's interface, from which it came, carries the inner packet."""
    outer = None if hop.action is Action.DECAPSULATE else hop.outer
    length = (outer or hop.header).length
    return f"{length} of {hop.mtu} bytes" if hop.mtu else f"{length} bytes"


def _change(before: Header, after: Header) -> str:
    if before.target != after.target or before.ports[1] != after.ports[1]:
        return f"to {before.receiver} => {after.receiver}"
    return f"from {before.sender} => {after.sender}"


def _cause(hop: Hop) -> str:
    by = f" [{hop.by}]" if hop.by else ""
    note = f"; {hop.note}" if hop.note else ""
    last = hop.matches[-1] if hop.matches else None
    rule = f": {last.rule}" if last and last.rule and hop.action is not Action.FORWARD else ""
    comment = f' "{last.comment}"' if last and last.comment else ""
    drawn = next((one.chance for one in hop.matches if one.chance < 1), 1.0)
    chance = f"; drawn with a chance of {drawn:.0%}" if drawn < 1 else ""
    return f"{hop.cause}{rule}{comment}{by}{chance}{note}" if hop.cause or by or note else ""


def _accepted(hop: Hop) -> Iterator[str]:
    """The rules that accepted it where packets are filtered, and those that set the mark for which they ask."""
    for one in hop.accepted:
        visit = one.visit
        if one.rule and visit.priority == _FILTER:
            by = f" [{one.by}]" if one.by else ""
            yield f"accepted by {path(visit.table, visit.chain, visit.matches)}: {one.rule}{by}"
            if one.marked:
                yield f"marked by {one.marked.chain}: {one.marked}"


def summary(journey: Journey) -> str:
    """How it ended, in one line."""
    counted = ", ".join(
        f"{name} {journey.count(action)}"
        for name, action in (("DNAT", Action.DNAT), ("SNAT", Action.SNAT), ("encapsulated", Action.ENCAPSULATE))
    )
    if journey.computed:
        there = journey.end in (End.DELIVERED, End.LEFT)
        return f"{_foreseen(journey)}{_likely(journey)}{f': {counted}' * there}"
    if journey.end is End.DELIVERED:
        return f"delivered, and answered after {journey.seconds * 1000:.1f} ms: {counted}"
    return f"{journey.end}: {journey.why}"


def findings(journey: Journey) -> list[str]:
    """What was found besides the hops: where it left the predicted way, what differs, the entries of conntrack."""
    return [*filter(None, [journey.deviation]), *journey.differing, *map(connection, journey.connections)]


def _foreseen(journey: Journey) -> str:
    match journey.end:
        case End.DELIVERED:
            return "will be delivered, and answered"
        case End.LEFT:
            return journey.why
        case End.UNKNOWN:
            return f"what becomes of it is not known: {journey.why}"
        case _:
            return f"will be {journey.end}: {journey.why}"


def _likely(journey: Journey) -> str:
    if journey.chance is None:
        return "" if journey.end is End.UNKNOWN else ", if what is not understood is so"
    return f", with a chance of {journey.chance:.0%}" if journey.chance < 1 else ""


def connection(one: ConntrackEntry) -> str:
    """An entry of a host's conntrack."""
    same = (one.reply.source, one.reply.target) == (one.original.target, one.original.source)
    return f"conntrack of {one.host}: {one.original}, reply {one.reply}{' (no NAT)' if same else ''}"


def to_json(journey: Journey, *, reply: bool = True) -> dict[str, Any]:
    """A journey as plain values."""
    aim = journey.target
    return {
        "lab": journey.lab,
        "source": journey.source,
        "target": {
            "name": aim.words, "address": str(aim.address), "port": aim.port, "protocol": aim.kind.value,
            "host": aim.host, "service": aim.service,
        },
        "end": journey.end.name.lower(),
        **({"chance": round(journey.chance, 6)} if journey.chance is not None else {}),
        "why": journey.why,
        "deviation": journey.deviation,
        "differing": [*journey.differing],
        "milliseconds": round(journey.seconds * 1000, 3),
        "names": [
            {"name": one.name, "server": str(one.server), "addresses": [*map(str, one.addresses)], "error": one.error}
            for one in journey.names
        ],
        "hops": [_hop(hop) for hop in journey.hops if reply or not hop.reply],
        "relay": [_hop(hop) for hop in journey.relay if reply or not hop.reply],
        "connections": [
            {"host": one.host, "original": _header(one.original), "reply": _header(one.reply), "state": one.state}
            for one in journey.connections
        ],
        "notes": [*journey.notes],
    }  # fmt: skip


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "host": hop.host,
        "interface": hop.dev,
        "action": hop.action.value,
        "reply": hop.reply,
        "packet": _header(hop.header),
        **({"before": _header(hop.before)} if hop.before else {}),
        **({"outer": _header(hop.outer)} if hop.outer else {}),
        "mark": hop.mark,
        "mtu": hop.mtu,
        "cause": hop.cause,
        "by": hop.by,
        "verdict": _VERDICTS.get(hop.action, "accept"),
        "rules": [*map(_match, hop.matches)],
        "accepted": [
            {
                "table": one.visit.table,
                "chain": one.visit.chain,
                "policy": one.visit.policy,
                "by": one.by,
                "rules": [*map(_match, one.visit.matches)],
            }
            for one in hop.accepted
        ],
        "note": hop.note,
        "command": hop.command,
    }


def _match(one: Match) -> dict[str, Any]:
    return {
        "table": one.table,
        "chain": one.chain,
        "rule": one.rule,
        "comment": one.comment,
        "verdict": one.verdict,
        **({"chance": round(one.chance, 6)} if one.chance < 1 else {}),
    }


def _header(header: Header) -> dict[str, Any]:
    ports = {"sourcePort": header.ports[0], "targetPort": header.ports[1]} if any(header.ports) else {}
    return {
        "source": str(header.source), "target": str(header.target), **ports,
        "protocol": PROTOCOLS.get(header.protocol, str(header.protocol)), "ttl": header.ttl, "length": header.length,
    }  # fmt: skip
