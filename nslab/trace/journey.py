"""A packet's journey of what was seen of it: hop by hop, with the cause of each (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.objects.names import SWITCH
from nslab.probes.evidence import What
from nslab.trace import commands
from nslab.trace.hops import BLACKHOLE, RP_FILTER, TRANSLATIONS, TTL_OVER, Accepted, Action, Hop, route_cause, too_big
from nslab.trace.stations import PREROUTING, asked, asked_first
from nslab.trace.translations import path, translations, undone_for_the_sender

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nslab.trace.known import Known
    from nslab.trace.observed import Header, Match, RouteTaken, Visit
    from nslab.trace.stations import Station

_REJECTS = re.compile(r"-j REJECT\b|(^|\s)reject( with \S.*)?$")
_TTL = re.compile(r"--ttl-set (\d+)|ip ttl set (\d+)")
"""In the text of a rule of iptables, or of nft."""
_WITH_CHAIN = (*TRANSLATIONS, Action.DROP, Action.REJECT)
"""What one chain does, or conntrack; all else a host does with the packet as its chains accepted it."""


def hops(stations: Sequence[Station], known: Known) -> Iterator[Hop]:
    """The hops of a request, or of a reply."""
    before: Station | None = None
    for number, station in enumerate(stations):
        following = stations[number + 1] if number + 1 < len(stations) else None
        inner = (before and before.left) if station.unseen else None
        before = station
        found = [*_of(station, following, inner or station.inner, known)]
        changed = {hop.matches for hop in found if hop.matches}
        for hop in found:
            mtu = known.mtus.get((hop.host, hop.dev), 0)
            accepted = () if hop.action in _WITH_CHAIN else tuple(_accepted(station, changed, known))
            yield replace(hop, reply=station.what is not What.REQUEST, mtu=mtu, accepted=accepted)


def _accepted(station: Station, told: Collection[tuple[Match, ...]], known: Known) -> Iterator[Accepted]:
    """The chains that accepted the packet. `told`: the rules of those that have a hop of their own."""
    for visit in station.visits:
        if visit.verdict == "accept" and visit.matches not in told:
            by_rule = visit.matches and not visit.policy
            yield Accepted(visit, known.authors.of_rule(station.host, visit.matches[-1]) if by_rule else "")


def _of(station: Station, following: Station | None, inner: Header, known: Known) -> Iterator[Hop]:
    if station.tunnelled:
        yield from _tunnel(station, following, inner, known)
    elif station.bridged:
        if station.host != SWITCH:
            yield _bridge(station, known.lab)
    elif station.arrival:
        yield from _passed(station, following, known)
    else:
        yield from _sent(station, known)


def _bridge(station: Station, lab: str) -> Hop:
    ports = f"{station.arrival[0].dev} to {station.departure[-1].dev}"
    command = commands.in_lab(lab, station.host, "bridge fdb show")
    return Hop(station.host, Action.BRIDGE, station.inner, dev=station.departure[-1].dev, cause=ports, command=command)


def _sent(station: Station, known: Known) -> Iterator[Hop]:
    """The host sends a packet of its own; its OUTPUT chains see it after it was routed."""
    route, first = known.routes[asked(station)], asked_first(station)
    yield Hop(
        station.host, Action.SEND, station.entered, dev=station.oif,
        cause=route_cause(known.routes.get(first) if first else None, route),
        by=known.authors.of_route(station.host, route), command=commands.route(known.lab, asked(station)),
        mark=asked(station).mark, note=_neighbour(station.host, route, known),
    )  # fmt: skip
    yield from translations(station, known)
    yield from _verdicts(station, known)


def _passed(station: Station, following: Station | None, known: Known) -> Iterator[Hop]:
    """The host forwards a packet, or takes it for itself."""
    changes = [*translations(station, known)]
    targets = [hop for hop in changes if hop.action in (Action.DNAT, Action.REVERSE_SNAT)]
    yield from targets
    yield from _verdicts(station, known)
    if station.departure:
        yield _forwarded(station, known)
    elif queued := _queued(station):
        yield _waits(station, queued, known)
    elif not station.dropped and not _taken_out(station, following):
        yield from _ended(station, known)
    yield from (hop for hop in changes if hop not in targets)


def _taken_out(station: Station, following: Station | None) -> bool:
    return station.tunnelled and following is not None and following.host == station.host


def _forwarded(station: Station, known: Known) -> Hop:
    question = asked(station)
    route = known.routes[question]
    return Hop(
        station.host, Action.FORWARD, replace(station.left or question.header, source=question.header.source,
        ports=question.header.ports), dev=station.oif, cause=f"route {route}",
        by=known.authors.of_route(station.host, route), mark=question.mark,
        command=commands.route(known.lab, question), note=_neighbour(station.host, route, known),
    )  # fmt: skip


def _neighbour(host: str, route: RouteTaken, known: Known) -> str:
    """The next hop's link-layer address; and who gave it, if the host had to ask."""
    if not (route.via and route.mac):
        return ""
    by = known.answered.get((host, route.via), "")
    return f"{route.via} is at {route.mac}" + (f"\n{by} answered its ARP request for {route.via}" if by else "")


def _ended(station: Station, known: Known) -> Iterator[Hop]:
    """The host takes the packet for itself, or it gets no further."""
    route = known.routes[asked(station)]
    if station.iif != "lo" and (route.kind not in ("local", "") or route.error):
        yield _lost(station, route, known)
        return
    received = _received(station, known)
    undone = undone_for_the_sender(station, received.header, known)
    yield from undone
    yield replace(received, header=undone[-1].header) if undone else received


def _lost(station: Station, route: RouteTaken, known: Known) -> Hop:
    question = asked(station)
    next_hop = route.via or question.header.target
    why, command = _cause(station, route, known), commands.route(known.lab, question)
    if not why and (silent := known.silent.get((station.host, next_hop), "")):
        why, command = silent, commands.neighbours(known.lab, station.host, next_hop)
    return Hop(
        station.host, Action.LOST, question.header, dev=station.iif, mark=question.mark, command=command,
        cause=why or f"no rule that the kernel traces drops it; route {route}",
        by="" if why else known.authors.of_route(station.host, route),
    )  # fmt: skip


def _cause(station: Station, route: RouteTaken, known: Known) -> str:
    """Why routing passes a packet no further; "" if it tells of no cause."""
    # From Linux 6.14, a look-up that rp_filter refuses has a blackhole's error.
    if route.error == BLACKHOLE and station.host in known.filtering:
        return RP_FILTER
    if route.error or route.kind != "unicast":
        return route.error
    if _ttl(station) <= 1:
        return TTL_OVER
    length, mtu = station.entered.length, known.mtus.get((station.host, route.dev), 0)
    return too_big(length, route.dev, mtu) if length > mtu > 0 else ""


def _ttl(station: Station) -> int:
    """The packet's TTL when it is to be forwarded: as its last chain met it, or as a rule of that set it."""
    last = station.visits[-1] if station.visits else None
    if not last or last.hook != PREROUTING:
        return station.entered.ttl
    given = [int(found[1] or found[2]) for match in last.matches if (found := _TTL.search(match.rule))]
    return given[-1] if given else last.header.ttl


def _received(station: Station, known: Known) -> Hop:
    command = commands.in_lab(known.lab, station.host, f"tcpdump -nn -i {station.iif} host {station.inner.source}")
    header = station.visits[-1].header if station.visits else station.entered
    return Hop(station.host, Action.RECEIVE, header, dev=station.iif, command=command)


def _tunnel(station: Station, following: Station | None, inner: Header, known: Known) -> Iterator[Hop]:
    outer = station.entered
    if not station.arrival:
        route = known.routes[asked(station)]
        protocol = "proto 4" if outer.protocol == 4 else f"udp port {outer.ports[1]}"
        yield Hop(
            station.host, Action.ENCAPSULATE, inner, dev=station.oif, outer=station.left or outer,
            cause=f"route {route}", by=known.authors.of_route(station.host, route),
            command=commands.in_lab(known.lab, station.host, f"tcpdump -nn -i {station.oif} {protocol}"),
        )  # fmt: skip
        yield from _verdicts(station, known)
        return
    if station.bridged:
        if station.host != SWITCH:
            yield replace(_bridge(station, known.lab), outer=outer)
        return
    yield from _verdicts(station, known)
    if station.departure:
        yield replace(_forwarded(station, known), header=inner, outer=station.left)
    elif _taken_out(station, following):
        assert following
        yield Hop(
            station.host, Action.DECAPSULATE, inner, dev=following.iif, outer=outer,
            command=commands.in_lab(known.lab, station.host, f"tcpdump -nn -i {following.iif}"),
        )  # fmt: skip


def _queued(station: Station) -> Visit | None:
    """The last visit, if it gave the packet to a program, which let it go neither on nor into the next chain."""
    last = station.visits[-1] if station.visits else None
    return last if last and last.verdict == "queue" and last.matches else None


def _waits(station: Station, visit: Visit, known: Known) -> Hop:
    last, way = visit.matches[-1], path(visit.table, visit.chain, visit.matches)
    return Hop(
        station.host, Action.LOST, visit.header, dev=station.iif, matches=visit.matches, mark=visit.mark,
        cause=f"no program takes it from the queue of {way}", by=known.authors.of_rule(station.host, last),
        command=commands.chain(known.lab, station.host, visit.table, last.chain),
    )  # fmt: skip


def _verdicts(station: Station, known: Known) -> Iterator[Hop]:
    """A hop if a chain dropped the packet. What accepts it changes nothing."""
    if not (visit := station.dropped):
        return
    last = visit.matches[-1] if visit.matches else None
    rejects = last is not None and _REJECTS.search(last.rule) is not None
    cause = (
        path(visit.table, visit.chain, visit.matches)
        if last and not visit.policy
        else f"policy DROP of chain {visit.chain} (table {visit.table})"
    )
    yield Hop(
        station.host, Action.REJECT if rejects else Action.DROP, visit.header, dev=station.iif or station.oif,
        cause=cause, by=known.authors.of_rule(station.host, last) if last and not visit.policy else "",
        matches=() if visit.policy else visit.matches, mark=visit.mark,
        command=commands.chain(known.lab, station.host, visit.table, last.chain if last else visit.chain),
    )  # fmt: skip
