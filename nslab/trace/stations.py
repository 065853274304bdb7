"""The hosts that a packet passes, one after the other, of what was seen of it (pure)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field, replace
from nslab.probes.evidence import What
from nslab.trace.observed import RouteQuestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.trace.observed import Crossing, Header, Passing, Visit, WatchedPacket

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
_TO = re.compile(r"(?:--to-destination|dnat to) (\d+\.\d+\.\d+\.\d+)(?::(\d+))?(?=\s|$)")


@dataclass(slots=True)
class Station:
    """A host's part in a packet's way. `tunnelled`: it handles the tunnel's packet.

    No arrival: the host sends it itself. No departure: it ends here, is taken out of its tunnel here, or is lost.
    """

    host: str
    what: What
    tunnelled: bool
    arrival: list[Passing] = field(default_factory=list)
    departure: list[Passing] = field(default_factory=list)
    crossing: Crossing | None = None

    @property
    def visits(self) -> Sequence[Visit]:
        """What its chains did, in order."""
        return self.crossing.visits if self.crossing else ()

    @property
    def entered(self) -> Header:
        """The header before the host changed anything: for a tunnel's packet, the outer one."""
        if self.arrival:
            return _own(self.arrival[0], self.tunnelled)
        return self.crossing.header if self.crossing else _own(self.departure[0], self.tunnelled)

    @property
    def left(self) -> Header | None:
        """The header as the host sent it on."""
        return _own(self.departure[-1], self.tunnelled) if self.departure else None

    @property
    def inner(self) -> Header:
        """The header of the packet itself."""
        passed = self.departure or self.arrival
        return passed[-1].header if passed else self.entered

    @property
    def iif(self) -> str:
        """The interface at which routing sees it come in: of a bridge and its port, the bridge."""
        if self.crossing and self.crossing.iif:
            return self.crossing.iif
        return self.arrival[-1].dev if self.arrival else ""

    @property
    def oif(self) -> str:
        """The interface to which routing sends it: of a bridge and its port, the bridge."""
        return self.departure[0].dev if self.departure else self.crossing.oif if self.crossing else ""

    @property
    def astray(self) -> bool:
        """Whether it only got a copy that a bridge flooded to all its ports."""
        came_only = bool(self.arrival) and not self.departure
        return came_only and not self.dropped and all(one.astray for one in self.arrival)

    @property
    def dropped(self) -> Visit | None:
        """The visit of the chain that dropped it, if one did: with br_netfilter, of what a bridge forwards, too."""
        return next((visit for visit in self.visits if visit.verdict == "drop"), None)

    @property
    def unseen(self) -> bool:
        """Whether no interface saw it: its own host dropped it."""
        return not self.arrival and not self.departure

    @property
    def bridged(self) -> bool:
        """Whether it was switched and not routed: it left as it came, and no hook of IP saw it."""
        return bool(self.arrival and self.departure) and self.entered == self.left


def _own(passing: Passing, tunnelled: bool) -> Header:
    return passing.outer if tunnelled and passing.outer else passing.header


def both_ways(seen: WatchedPacket) -> tuple[list[Station], list[Station]]:
    """The stations of the request, and those of its reply.

    A server may pass the request on in packets of its own, with the same bytes (kube-proxy in userspace mode, a DNS
    server): they are none of this conversation, and neither are the replies to them.
    """
    there = [*_of_the_sender(stations(seen.passings, seen.crossings, What.REQUEST), seen.question.source)]
    sent = {one.header.ends for station in there for one in (*station.arrival, *station.departure)}
    # What a host translated for itself left nowhere; what it sends to itself is seen by its rules alone.
    sent |= {header.ends for station in there for header in (asked(station).header, station.entered)}
    senders = {source for source, *_ in sent}
    replies = [
        one
        for one in seen.passings
        if one.header.reply_ends in sent or (one.what is What.ERROR and one.header.target in senders)
    ]
    crossings = [one for one in seen.crossings if one.tunnelled or one.header.reply_ends in sent]
    return there, stations(replies, crossings, What.REPLY)


def _of_the_sender(found: Iterable[Station], source: str) -> Iterator[Station]:
    """The stations of the packet that the sender sends, which it does once."""
    sent = False
    for station in found:
        if not station.arrival and not station.tunnelled:
            if station.host != source or sent:
                return
            sent = True
        yield station


def stations(passings: Iterable[Passing], crossings: Iterable[Crossing], what: What) -> list[Station]:
    """The stations of a request, or of a reply, in their order."""
    found: list[Station] = []
    last: dict[tuple[str, bool], Station] = {}
    for one in passings:
        # A refusal and an ICMP error take the way of a reply.
        if (one.what if one.what is What.REQUEST else What.REPLY) is not what:
            continue
        key = one.host, one.outer is not None
        station = last.get(key)
        if not station or not _goes_on(station, one):
            station = last[key] = Station(one.host, what, key[1])
            found.append(station)
        (station.departure if one.leaving else station.arrival).append(one)
    known: set[tuple[object, ...]] = set()
    for crossing in crossings:
        # A server that closes at once sends another packet right behind. VXLAN chooses its source port anew.
        ports = (0, crossing.header.ports[1]) if crossing.tunnelled else crossing.header.ports
        alike = replace(crossing.header, length=0, ports=ports)
        sight = crossing.host, crossing.tunnelled, crossing.iif, crossing.oif, alike
        if crossing.what not in (what, None) or sight in known:
            continue  # another packet's, or the same once more: TCP repeats what is not answered
        known.add(sight)
        if owner := _owner(found, crossing):
            owner.crossing = crossing
        elif crossing.iif and (owner := _begun(found, crossing)):
            assert owner.crossing
            visits = (*owner.crossing.visits, *crossing.visits)
            owner.crossing = replace(owner.crossing, oif=crossing.oif, visits=visits)
        elif crossing.what is what and not crossing.iif:
            _insert(found, Station(crossing.host, what, crossing.tunnelled, crossing=crossing))
    return [station for station in found if not station.astray]


def _goes_on(station: Station, one: Passing) -> bool:
    """Whether a sighting belongs to a station: a bridge and its ports see the same packet one after the other.

    With br_netfilter, rules may translate it between the two.
    """
    if one.leaving and station.departure:
        return _same(station.departure[-1].header, one.header)
    if one.leaving:
        # What routes a packet takes one off its TTL; otherwise the host sends a packet of its own.
        before = station.arrival[-1]
        came, left = _own(before, station.tunnelled), _own(one, station.tunnelled)
        if station.tunnelled and came.source != left.source and came.target != left.target:
            return False  # it came out of one tunnel's packet, and goes into another
        # A rule may set it; then the ends tell.
        return came.ttl - left.ttl == (0 if before.astray else 1) or (came.ends == left.ends and not before.astray)
    if station.departure:
        return False
    before = station.arrival[-1]
    return before.header == one.header or (before.astray and _same(before.header, one.header))


def _same(before: Header, after: Header) -> bool:
    """Whether nobody routed the packet in between."""
    return before.ttl == after.ttl and (before.source == after.source or before.target == after.target)


def _owner(found: Sequence[Station], crossing: Crossing) -> Station | None:
    """The station whose hooks a crossing tells of."""
    for station in found:
        if station.crossing or (station.host, station.tunnelled) != (crossing.host, crossing.tunnelled):
            continue
        # Of a bridge's port, rules name the bridge, which need not have seen the packet.
        came = [one.dev for one in station.arrival] + [crossing.iif] * any(one.astray for one in station.arrival)
        if crossing.iif and crossing.iif in came and crossing.header.ends == station.entered.ends:
            return station
        if not crossing.iif and not station.arrival and crossing.oif in [one.dev for one in station.departure]:
            return station
    return None


def _begun(found: Sequence[Station], crossing: Crossing) -> Station | None:
    """The station whose first hooks br_netfilter called: the trace of the others begins anew."""
    for station in found:
        if station.crossing and (station.host, station.tunnelled) == (crossing.host, crossing.tunnelled):
            last = max((visit.hook for visit in station.visits), default=0)
            if station.crossing.iif == crossing.iif and all(visit.hook > last for visit in crossing.visits):
                return station
    return None


def _insert(found: list[Station], station: Station) -> None:
    """Put a station in its place that no interface saw: its own host dropped the packet before it left."""
    before = [place for place, one in enumerate(found, 1) if one.host == station.host]
    if before or not station.tunnelled:
        found.insert(before[-1] if before else 0, station)


def translated(visit: Visit, header: Header) -> Header:
    """The header with the target that the last rule of a visit gives it, as the rule's text says."""
    found = _TO.search(visit.matches[-1].rule) if visit.matches and visit.verdict == "accept" else None
    if not found:
        return header
    return replace(header, target=IPv4Address(found[1]), ports=(header.ports[0], int(found[2] or header.ports[1])))


def asked(station: Station) -> RouteQuestion:
    """What to ask its host's routing: with the target that the packet has after DNAT, and the source before SNAT."""
    visits, entered = station.visits, station.entered
    target = station.left or (translated(visits[-1], visits[-1].header) if visits else entered)
    routed = [visit for visit in visits if visit.hook in (INPUT, FORWARD, POSTROUTING)] or [*visits[-1:]]
    ports = entered.ports[0], target.ports[1]
    header = replace(entered, target=target.target, ports=ports)
    return RouteQuestion(station.host, header, station.iif, routed[0].mark if routed else 0)


def asked_first(station: Station) -> RouteQuestion | None:
    """What its host asked before its own rules gave a packet of its own another target; None if they did not."""
    question = asked(station)
    if station.arrival or station.tunnelled or station.entered.target == question.header.target:
        return None
    return RouteQuestion(station.host, station.entered)
