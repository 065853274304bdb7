"""What changed a packet's addresses on a host: a chain that translates, or conntrack, which needs no rule (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.probes.evidence import What
from nslab.trace import commands
from nslab.trace.hops import BY_CONNTRACK, Action, Hop
from nslab.trace.stations import INPUT, OUTPUT, POSTROUTING, PREROUTING, translated
from nslab.wire.packets import ICMP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.known import Known
    from nslab.trace.observed import Header, Match, Visit
    from nslab.trace.stations import Station

_REVERSE = {Action.DNAT: Action.REVERSE_SNAT, Action.SNAT: Action.REVERSE_DNAT}
"""What conntrack does to the same field of a reply: it undoes the other translation."""
_HOOKS = {Action.DNAT: (PREROUTING, OUTPUT), Action.SNAT: (POSTROUTING, INPUT)}


_WITHOUT_NAT = ("raw", "mangle", "filter", "security")


def path(table: str, chain: str, matches: Sequence[Match]) -> str:
    """The chains from the hook's (`chain`) to that of the last rule: table CHAIN > CHAIN > CHAIN."""
    chains = [chain]
    for match in matches:
        if match.chain in chains:
            target = [match.target] if match.target and match.verdict in ("jump", "goto") else []
            chains = [*chains[: chains.index(match.chain) + 1], *target]
    if matches and matches[-1].chain in chains:
        chains = chains[: chains.index(matches[-1].chain) + 1]
    return f"{table} {' > '.join(chains)}"


def translations(station: Station, known: Known) -> Iterator[Hop]:
    """A hop for each change, in order."""
    before, last = station.entered, None
    for visit in station.visits:
        yield from _changed(station, last, before, visit.header, known)
        before, last = visit.header, visit
    # What a packet's last chain did, its way out tells; of one that is lost there, the rule's text.
    after = station.left or (translated(last, before) if last else before)
    yield from _changed(station, last, before, after, known)


def _changed(station: Station, visit: Visit | None, before: Header, after: Header, known: Known) -> Iterator[Hop]:
    """What became of the target, then of the source. `visit`: the chain that the packet had just left.

    The identifier of an echo stands for the sender's port, in the request and in the reply.
    """
    target = replace(before, target=after.target, ports=(before.ports[0], after.ports[1]))
    if station.what is not What.REQUEST:
        target = replace(target, identity=after.identity)
    source = replace(target, source=after.source, ports=after.ports, identity=after.identity)
    for action, old, new in ((Action.DNAT, before, target), (Action.SNAT, target, source)):
        if old.flow == new.flow:
            continue
        if visit and visit.matches and visit.hook in _HOOKS[action] and not _only_filters(visit):
            yield _by_rule(station, visit, action, old, new, known)
        else:
            yield _by_conntrack(station, action, old, new, known)


def _only_filters(visit: Visit) -> bool:
    """Whether it is of a table of iptables without NAT; conntrack may have undone an earlier one right behind it.

    In nft, kube-proxy's and Felix's base chains have the name of such a table before theirs.
    """
    return visit.table.partition(" ")[0] in _WITHOUT_NAT or visit.chain.partition("-")[0] in _WITHOUT_NAT


def undone_for_the_sender(station: Station, header: Header, known: Known) -> list[Hop]:
    """What conntrack takes back of a reply that the translating host itself gets: no interface sees that."""
    sent = known.sent
    if station.what is What.REQUEST or not sent or (header.target, header.ports[1]) != (sent.source, sent.ports[0]):
        return []
    if header.protocol == sent.protocol == ICMP and header.identity != sent.identity:
        return []  # an ICMP error; the echo that it quotes is not undone on its own
    back = replace(header, source=sent.target, ports=(sent.ports[1], header.ports[1]))
    return [] if back.ends == header.ends else [_by_conntrack(station, Action.SNAT, header, back, known)]


def _by_rule(station: Station, visit: Visit, action: Action, old: Header, new: Header, known: Known) -> Hop:
    last = visit.matches[-1]
    return Hop(
        station.host, action, new, dev=where_changed(action, station.iif, station.oif), before=old,
        cause=path(visit.table, visit.chain, visit.matches), by=known.authors.of_rule(station.host, last),
        matches=visit.matches, mark=visit.mark,
        command=commands.chain(known.lab, station.host, visit.table, last.chain),
    )  # fmt: skip


def _by_conntrack(station: Station, action: Action, old: Header, new: Header, known: Known) -> Hop:
    request = station.what is What.REQUEST
    return Hop(
        station.host, action if request else _REVERSE[action], new,
        dev=where_changed(action, station.iif, station.oif), before=old, by="kernel", cause=BY_CONNTRACK,
        command=commands.connections(known.lab, station.host, old.source if request else new.target),
    )  # fmt: skip


def where_changed(action: Action, iif: str, oif: str) -> str:
    """Where it came in, or goes out: a target changes before the route is chosen, a source after it."""
    return (iif or oif) if action is Action.DNAT else (oif or iif)
