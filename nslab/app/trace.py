"""Follow one packet and its reply, hop by hop."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import cached_property
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.app.drift import drift_of
from nslab.app.predict import journeys, made_besides, predictor
from nslab.compiler import compile_lab
from nslab.compiler.endpoints import resolve
from nslab.dataclass import dataclass, replace
from nslab.errors import UsageError
from nslab.lab.types import ProxyMode
from nslab.linux.netns import Namespaces, identities
from nslab.linux.observe.host import read_host
from nslab.linux.observe.nft import wanted_rules
from nslab.linux.stored_lab import changed_at, stored_lab
from nslab.linux.tracing.instruments import Instruments
from nslab.linux.tracing.names import NO_ANSWER, ask_names
from nslab.linux.tracing.relays import Relays
from nslab.linux.tracing.routing import routes_taken
from nslab.linux.tracing.tunnel_entries import taken_back
from nslab.linux.tracing.watch import watch
from nslab.linux.visits import visiting
from nslab.objects.names import netns
from nslab.objects.nft import NftTable
from nslab.probes.evidence import Conversation, What
from nslab.probes.pairs import places
from nslab.quote import fill
from nslab.ruletext.comments import without_comment
from nslab.trace.authors import BY_HAND, Authors
from nslab.trace.denied import denied
from nslab.trace.deviation import deviation
from nslab.trace.ending import RP_FILTERED
from nslab.trace.endpoints import names_to_ask, resolved, sized, source, target
from nslab.trace.hops import End, Journey
from nslab.trace.journey import hops
from nslab.trace.known import Known
from nslab.trace.notes import notes
from nslab.trace.outcome import differences, end_of, why
from nslab.trace.stations import asked, asked_first, both_ways, stations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.probes.probe import Kind
    from nslab.trace.authors import RulePlace
    from nslab.trace.endpoints import TraceTarget
    from nslab.trace.hops import Hop, NameAsked
    from nslab.trace.lab_prediction import LabPredictor
    from nslab.trace.observed import RouteQuestion, RouteTaken, WatchedPacket
    from nslab.trace.stations import Station


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was observed, and put in order."""

    observation: WatchedPacket
    there: list[Station]
    back: list[Station]
    relay: list[Station]
    routes: Mapping[RouteQuestion, RouteTaken]
    listed: Mapping[RulePlace, Collection[str]]


def trace(name: str, sender: str, to: str, kind: Kind | None = None, size: int = 0) -> Journey:
    """Send a real packet in a running lab and return its journey; of TCP, a connection whose SYN is followed.

    `sender`, `to`: see `nslab.trace.endpoints`; UsageError if the lab has no such end. `kind`: None for what the target
    speaks (TCP, if it says nothing). `size`: of the IP packet in bytes, which no host may fragment; 0: a small one.
    """
    with tracing(name) as tracer:
        return tracer.trace(sender, to, kind, size, last=True)


@contextmanager
def tracing(name: str) -> Iterator[Tracer]:
    """Send several packets in a running lab, one after the other: what they share is opened and read once."""
    with visiting(name):
        tracer = Tracer(name)
        try:
            yield tracer
        finally:
            tracer.close()


class Tracer:
    """Sends packets in one lab. `tracing` makes it, and closes it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._opened = ExitStack()
        self._there: object = None
        self._open()

    def _open(self) -> None:
        self._spaces = self._opened.enter_context(Namespaces())
        self._instruments = self._opened.enter_context(Instruments(self._spaces))

    def close(self) -> None:
        """Close what is open; the last rule of ours is gone then."""
        self._opened.close()

    def trace(self, sender: str, to: str, kind: Kind | None = None, size: int = 0, *, last: bool = False) -> Journey:
        """The journey of one packet; see the function `trace`. `last`: no other will follow."""
        traced = self._as_it_is()
        lab, spaces = traced.lab, self._spaces
        begin, aim = source(lab, sender), sized(target(lab, to, kind), size)
        with taken_back(spaces, lab.name, [netns(lab.name, node.name) for node in lab.nodes]):
            names = _asked_names(spaces, lab, begin, aim)
            if names and not names[-1].addresses:
                raise _no_address(lab.name, sender, aim, names)
            aim = resolved(lab, aim, names[-1].addresses[0], kind) if names else aim
            seen = _watched(spaces, self._instruments, traced, begin, aim)
        if last:
            self._instruments.begin_to_close()
        return _journey(traced, begin, aim, names, seen)

    def _as_it_is(self) -> Traced:
        """The lab as it is stored now. What was opened in namespaces that are others now is opened anew."""
        there = identities(self._name), changed_at(self._name)
        if self._there is None or there != self._there:
            if self._there is not None:
                self._opened.close()
                self._open()
            lab = stored_lab(self._name)
            self._there, self._traced = there, Traced(lab, compile_lab(lab, read_host(self._spaces)))
        return self._traced


class Traced:
    """A lab whose packets are traced; its State is made ready for predictions once."""

    def __init__(self, lab: Lab, state: State) -> None:
        self.lab, self.state = lab, state

    @cached_property
    def predictor(self) -> LabPredictor:
        """Of the State."""
        return predictor(self.lab, self.state)


def _no_address(lab: str, sender: str, aim: TraceTarget, names: tuple[NameAsked, ...]) -> UsageError:
    first = names[0]
    said = f"{first.server} says of {first.name}: {first.error}"
    if first.error == NO_ANSWER:
        follow = fill("`nslab trace {} {} {}:53 --udp`", lab, sender, str(first.server))
        said = f"{first.server} does not answer; {follow} follows a question"
    return UsageError(f"{aim.name} has no address: {said}")


def _asked_names(spaces: Namespaces, lab: Lab, begin: str, aim: TraceTarget) -> tuple[NameAsked, ...]:
    if aim.address or not lab.dns_address:
        return ()
    nodes = [node.name for node in lab.nodes]
    return ask_names(spaces, lab.name, begin, nodes, names_to_ask(lab, begin, aim.name), lab.dns_address)


def _watched(spaces: Namespaces, instruments: Instruments, traced: Traced, begin: str, aim: TraceTarget) -> _Seen:
    assert aim.address
    lab, conversation = traced.lab, Conversation(begin, aim.address, aim.kind, aim.port, aim.size)
    observation = watch(spaces, instruments, lab.name, conversation, _relays(lab, aim))
    there, back = both_ways(observation)
    relay = [one for what in (What.REQUEST, What.REPLY) for one in stations(observation.relayed, (), what)]
    questions = (question for one in (*there, *back, *relay) for question in (asked(one), asked_first(one)))
    routes = routes_taken(spaces, lab.name, filter(None, questions))
    return _Seen(observation, there, back, relay, routes, _as_listed(spaces, lab.name, traced.state, observation))


def _as_listed(
    spaces: Namespaces, lab: str, state: State, observation: WatchedPacket
) -> dict[RulePlace, frozenset[str]]:
    """The lab's rules of nft in the chains that the packet met, as nft lists them, without comments."""
    met = {(netns(lab, crossing.host), visit.table) for crossing in observation.crossings for visit in crossing.visits}
    found: dict[RulePlace, frozenset[str]] = {}
    for ns in sorted({obj.ns for obj in state if isinstance(obj, NftTable) and (obj.ns, obj.name) in met}):
        for (table, chain), rules in wanted_rules(spaces, [obj for obj in state if obj.ns == ns]).items():
            found[ns, table, chain] = frozenset(map(without_comment, rules))
    return found


def _relays(lab: Lab, aim: TraceTarget) -> Relays | None:
    """In userspace mode kube-proxy makes a connection of its own to an endpoint."""
    if lab.proxy_mode is not ProxyMode.USERSPACE:
        return None
    nodes = tuple(node.name for node in lab.nodes)
    at_node = aim.host in nodes or bool(aim.address and aim.address.is_loopback)
    ends = {
        (IPv4Address(end.ip), end.port)
        for service in resolve(lab)
        for port in service.ports
        if service.key == aim.service
        or (at_node and port.node_port == aim.port)
        or str(aim.address) in (*service.external_ips, *service.load_balancer_ips)
        for end in port.endpoints
    }
    return Relays(nodes, frozenset(ends)) if ends else None


def _journey(traced: Traced, begin: str, aim: TraceTarget, names: tuple[NameAsked, ...], seen: _Seen) -> Journey:
    lab = traced.lab
    sent = seen.there[0].entered if seen.there else None
    filtering = {count.host for count in seen.observation.counts if count.name == RP_FILTERED}
    authors = Authors(lab.name, traced.state, seen.listed, made_besides(lab) or BY_HAND)
    answered = {(one.host, one.address): one.by for one in seen.observation.answered}
    silent = {(one.host, one.address): f"{one}" for one in seen.observation.unanswered}
    known = Known(lab.name, seen.routes, seen.observation.mtus or {}, authors, sent, filtering, answered, silent)
    every = (*hops(seen.there, known), *hops(seen.back, known))
    end = end_of(seen.observation, every)
    cause, differing = "", tuple[str, ...]()
    if end is not End.DELIVERED:
        last = aim.host or _host_at(lab, every)
        cause = why(seen.observation, every, last)
        passed = [one.host for one in (*seen.there, *seen.back)]
        differing = tuple(_differences(lab.name, [*_with_nodes(lab, begin), *passed, *_with_nodes(lab, last)]))
    times = [one.at for one in seen.observation.passings]
    found = Journey(
        lab.name, begin, aim, every, end, cause, differing, seconds=(max(times) - min(times)) / 1e9 if times else 0.0,
        connections=seen.observation.connections, names=names,
        notes=tuple(_notes(lab, every, begin, aim, end, seen.observation)),
    )  # fmt: skip
    relay = tuple(hops(seen.relay, known))
    return replace(found, deviation=_deviation(traced, found), relay=relay)


def _deviation(traced: Traced, found: Journey) -> str:
    if traced.lab.proxy_mode is ProxyMode.IPVS:
        return ""  # the kernel's trace shows less than a prediction
    if made_besides(traced.lab) or _is_for_many(found.target.address):
        return ""
    left = deviation(found, journeys(traced.predictor, traced.lab.name, found.source, found.target))
    return f"{left}" if left else ""


def _is_for_many(address: IPv4Address | None) -> bool:
    """Whether no State says who takes it: a multicast group's address, or the limited broadcast."""
    return bool(address and (address.is_multicast or address == IPv4Address("255.255.255.255")))


def _host_at(lab: Lab, every: tuple[Hop, ...]) -> str:
    """The host to which the packet was going in the end: of a Service, the endpoint that was drawn."""
    forth = [hop.header.target for hop in every if not hop.reply]
    return next((place.name for place in places(lab) if forth and place.address == forth[-1]), "")


def _with_nodes(lab: Lab, host: str) -> list[str]:
    """A host and its node, which may have taken no packet from it."""
    return [host, *(place.node for place in places(lab) if place.name == host)]


def _differences(name: str, hosts: list[str]) -> list[str]:
    drift = drift_of(name)
    return differences(drift.plan, drift.in_the_way, [host for host in hosts if host])


def _notes(
    lab: Lab, every: tuple[Hop, ...], begin: str, aim: TraceTarget, end: End, seen: WatchedPacket
) -> Iterator[str]:
    yield from notes(
        lab, every, begin, aim, delivered=end is End.DELIVERED, renewed=seen.renewed, relayed=bool(seen.relayed),
        endpoints=bool(_relays(lab, aim)),
    )  # fmt: skip
    if end is End.DROPPED:
        yield from denied(lab, every, begin)
