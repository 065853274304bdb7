"""A packet's journey computed from the State alone: its routes, its rules evaluated, its tunnels (pure).

Where rules draw lots there are several journeys, each with its chance.
"""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass, field
from nslab.dataclass import replace as changed
from nslab.objects.inet import Address, Blackhole, Route
from nslab.objects.links import Bridge, Veth
from nslab.objects.names import SWITCH, host, netns
from nslab.objects.tunnels import Ipip, Tun, Vxlan
from nslab.probes.pairs import Kind
from nslab.trace import commands
from nslab.trace.authors import without_comment
from nslab.trace.hops import Action, End, Hop
from nslab.trace.observed import Header, Match, RouteQuestion, RouteTaken
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.from_state import node_addresses, node_rules
from nslab.trace.rules.packet import ICMP, TCP, UDP, Flow4, Packet, Verdict
from nslab.trace.translations import path
from nslab.trace.walk import HOPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address

    from nslab.trace.authors import Authors
    from nslab.trace.endpoints import Target
    from nslab.trace.rules.packet import Addresses, Outcome, Step
    from nslab.trace.rules.ruleset import Ruleset
    from nslab.trace.topology import Topology

LO = "lo"
_NO_ROUTE = "it has no route there"
_KINDS = {Kind.TCP: (TCP, 60), Kind.UDP: (UDP, 49), Kind.ICMP: (ICMP, 44)}
"""Protocol, and the length in bytes of the packet that `trace` sends."""
_OVERHEAD = {Ipip: 20, Tun: 20, Vxlan: 50}
_VXLAN_PORT = 4789
_IPIP = 4
_ENDS = {Verdict.DROP: (Action.DROP, End.DROPPED), Verdict.REJECT: (Action.REJECT, End.REJECTED)}


@dataclass(frozen=True, slots=True)
class Predicted:
    """One journey. `chance`: None if it depends on what is not understood, which `doubts` names."""

    hops: tuple[Hop, ...]
    end: End
    chance: Fraction | None
    why: str = ""
    doubts: tuple[str, ...] = ()


class _Nat(NamedTuple):
    """What conntrack of a host keeps of the connection: its flow as it came, and as it went on.

    `masqueraded`: its source is another, be it for the port alone.
    """

    came: Flow4
    went: Flow4
    masqueraded: bool


class _Way(NamedTuple):
    """How a host sends a packet."""

    taken: RouteTaken

    @property
    def dev(self) -> str:
        """The interface."""
        return self.taken.dev


@dataclass(frozen=True, slots=True)
class _Branch:
    """A packet on its way. `came`: its flow as it came to this host; `nat`: of the hosts that translated it."""

    packet: Packet
    ns: str
    came: Flow4
    hops: tuple[Hop, ...] = ()
    chance: Fraction | None = field(default_factory=lambda: Fraction(1))
    doubts: tuple[str, ...] = ()
    nat: Mapping[str, _Nat] = field(default_factory=dict)
    end: End | None = None
    why: str = ""
    inner: Packet | None = None
    """The packet in the tunnel, if this is the tunnel's."""
    masqueraded: bool = False

    @property
    def over(self) -> bool:
        """Whether it goes no further."""
        return self.end is not None


class Predictor:
    """Predicts for one lab; reads each host's rules once."""

    def __init__(self, lab: str, net: Topology, authors: Authors) -> None:
        self._lab, self._net, self._authors = lab, net, authors
        self._rules: dict[str, tuple[Ruleset, Addresses]] = {}

    def journeys(self, source: str, target: Target) -> list[Predicted]:
        """All journeys of a packet from the host `source`, with the reply of what is delivered."""
        assert target.address
        protocol, length = _KINDS[target.kind]
        ns = netns(self._lab, source)
        packet = Packet(self._source(ns, target.address), target.address, protocol, 0, target.port, length=length)
        done = []
        for there in self._send(_Branch(packet, ns, packet.flow)):
            if there.end is End.DELIVERED:
                done += [self._predicted(back) for back in self._send(_reply(there))]
            else:
                done.append(self._predicted(there))
        return done

    def _predicted(self, branch: _Branch) -> Predicted:
        return Predicted(branch.hops, branch.end or End.LOST, branch.chance, branch.why, branch.doubts)

    def _source(self, ns: str, target: IPv4Address) -> IPv4Address:
        """The address that the kernel chooses for a packet of the host itself."""
        if self._is_local(ns, target):
            return target
        hop = self._net.lookup(ns, target)
        own = self._net.addresses[ns]
        if isinstance(hop, Route | Address):
            via = hop.via if isinstance(hop, Route) and hop.via else target
            on = [one for one in own if one.dev == hop.dev]
            best = [one for one in on if via in one.address.network] or on
            if best:
                return best[0].address.ip
        return next((one.address.ip for one in own if not one.address.ip.is_loopback), target)

    def _is_local(self, ns: str, address: IPv4Address) -> bool:
        return address.is_loopback or self._net.owner(ns, address) is not None

    def _way(self, ns: str, to: IPv4Address) -> _Way | None:
        """How a host sends a packet to an address; None if it cannot."""
        if self._is_local(ns, to):
            return _Way(RouteTaken("local", IPv4Network(to), dev=LO, protocol="kernel"))
        match self._net.lookup(ns, to):
            case Address(address=own, dev=dev):
                return _Way(RouteTaken("unicast", own.network, dev=dev, protocol="kernel"))
            case Route() as route:
                return _Way(RouteTaken("unicast", route.to, route.via, route.dev, route.protocol, onlink=route.onlink))
            case _:
                return None

    # --- A host's own packets

    def _send(self, branch: _Branch) -> Iterator[_Branch]:
        if len(branch.hops) > HOPS:
            yield _ended(branch, End.LOST, "it goes in a circle")
            return
        branch = self._restored(branch, "OUTPUT")
        way = self._way(branch.ns, branch.packet.destination)
        if not way:
            yield self._lost(branch, "")
            return
        for after in self._through(branch, "OUTPUT", oif=way.dev):
            again = self._way(after.ns, after.packet.destination) or way
            sent = self._hop(branch, Action.SEND, dev=again.dev, way=again).hops
            # What OUTPUT translates is routed once more.
            since = (changed(hop, dev=again.dev) for hop in after.hops[len(branch.hops) :])
            on = changed(after, hops=(*sent, *since))
            yield from [on] if on.over else self._leave(on, again)

    # --- Packets of others

    def _arrive(self, branch: _Branch, ns: str, dev: str) -> Iterator[_Branch]:
        if len(branch.hops) > HOPS:
            yield _ended(branch, End.LOST, "it goes in a circle")
            return
        branch = changed(branch, ns=ns, came=branch.packet.flow, masqueraded=False)
        branch = self._restored(branch, "PREROUTING", dev)
        for after in self._through(branch, "PREROUTING", iif=dev):
            if after.over:
                yield after
            elif self._is_local(ns, after.packet.destination):
                yield from self._receive(after, dev)
            else:
                yield from self._forward(after, dev)

    def _receive(self, branch: _Branch, dev: str) -> Iterator[_Branch]:
        for after in self._through(branch, "INPUT", iif=dev):
            yield (
                after
                if after.over
                else _ended(self._hop(self._restored(after, "INPUT", dev), Action.RECEIVE, dev=dev), End.DELIVERED)
            )

    def _forward(self, branch: _Branch, dev: str) -> Iterator[_Branch]:
        way = self._way(branch.ns, branch.packet.destination)
        forwards = self._net.objects.get(("Sysctl", branch.ns, "net/ipv4/ip_forward"))
        if getattr(forwards, "value", "0") != "1":
            yield self._lost(branch, dev, "it does not forward packets (ip_forward), or a route says unreachable")
            return
        if not way:
            yield self._lost(branch, dev)
            return
        branch = changed(branch, packet=changed(branch.packet, ttl=branch.packet.ttl - 1))
        for after in self._through(branch, "FORWARD", iif=dev, oif=way.dev):
            if after.over:
                yield after
            else:
                yield from self._leave(self._hop(after, Action.FORWARD, dev=way.dev, way=way, iif=dev), way, dev)

    # --- Leaving

    def _leave(self, branch: _Branch, way: _Way, iif: str = "") -> Iterator[_Branch]:
        for translated in self._through(branch, "POSTROUTING", iif=iif, oif=way.dev):
            if translated.over:
                yield translated
                continue
            after = self._restored(translated, "POSTROUTING", way.dev)
            if after.packet.flow != after.came and not after.packet.reply:
                after = changed(
                    after, nat={**after.nat, after.ns: _Nat(after.came, after.packet.flow, after.masqueraded)}
                )
            if way.dev == LO:
                yield from self._arrive(after, after.ns, LO)
            else:
                yield from self._cross(after, way.dev, way.taken.via or after.packet.destination)

    def _cross(self, branch: _Branch, dev: str, via: IPv4Address) -> Iterator[_Branch]:
        """To the next host that looks at the packet."""
        net, ns = self._net, branch.ns
        match net.device(ns, dev):
            case Veth():
                _, (other, end) = net.veths[ns, dev]
                port = net.port(other, end)
                if not port:
                    yield from self._arrive(branch, other, end)
                else:
                    yield from self._over_bridge(branch, other, port.bridge, via, end)
            case Bridge():
                yield from self._over_bridge(branch, ns, dev, via, "")
            case Vxlan() | Ipip() | Tun() as tunnel:
                yield from self._tunnel(branch, tunnel, via)
            case _:
                yield _ended(branch, End.LOST, f"{host(ns)} has no {dev}")

    def _over_bridge(self, branch: _Branch, ns: str, bridge: str, via: IPv4Address, came: str) -> Iterator[_Branch]:
        net = self._net
        if came and net.owner(ns, via):
            yield from self._arrive(branch, ns, bridge)
            return
        for port in net.plugged[ns, bridge]:
            _, (other, end) = net.veths[ns, port]
            if net.owner(other, via):
                if came and branch.packet.reply and ns in branch.nat:
                    # Conntrack translates what the bridge passes, too (br_netfilter).
                    way = self._way(ns, via)
                    branch = self._restored(changed(branch, ns=ns), "PREROUTING", came)
                    branch = self._hop(branch, Action.FORWARD, dev=port, way=way)
                    branch = self._restored(branch, "POSTROUTING", port)
                elif came and host(ns) != SWITCH:
                    command = commands.in_lab(self._lab, host(ns), "bridge fdb show")
                    hop = Hop(
                        host(ns), Action.BRIDGE, _header(branch.packet), branch.packet.reply, port,
                        cause=f"{came} to {port}", command=command,
                    )  # fmt: skip
                    branch = changed(branch, hops=(*branch.hops, hop))
                yield from self._arrive(branch, other, end)
                return
        yield _ended(branch, End.LOST, f"nobody on {host(ns)}'s {bridge} has the address {via}")

    def _tunnel(self, branch: _Branch, tunnel: Vxlan | Ipip | Tun, via: IPv4Address) -> Iterator[_Branch]:
        """The tunnel's packet goes from node to node, where a device of the same kind takes the inner one out."""
        net, ns, inner = self._net, branch.ns, branch.packet
        to: IPv4Address | None = via
        if isinstance(tunnel, Vxlan):
            entry = net.neighbour(ns, tunnel.name, via)
            behind = net.forwarding(ns, tunnel.name, entry.mac) if entry else None
            to = behind.dst if behind else None
        way = self._way(ns, to) if to else None
        if to is None or not way:
            yield _ended(branch, End.LOST, f"{host(ns)}'s {tunnel.name} knows no node behind {via}")
            return
        protocol, ports = (UDP, (0, _VXLAN_PORT)) if isinstance(tunnel, Vxlan) else (_IPIP, (0, 0))
        packet = Packet(
            self._source(ns, to), to, protocol, *ports, length=inner.length + _OVERHEAD[type(tunnel)], oif=way.dev
        )
        outer = changed(branch, packet=packet, came=packet.flow, nat={})
        header = _header(packet)
        show = "proto 4" if protocol == _IPIP else f"udp port {_VXLAN_PORT}"
        wrapped = Hop(
            host(ns), Action.ENCAPSULATE, _header(inner), inner.reply, way.dev, outer=header,
            cause=f"route {way.taken}", by=self._authors.of_route(host(ns), way.taken),
            mtu=self._mtu(ns, way.dev),
            command=commands.in_lab(self._lab, host(ns), f"tcpdump -nn -i {way.dev} {show}"),
        )  # fmt: skip
        outer = changed(outer, hops=(*outer.hops, wrapped), inner=inner)
        for after in self._through(outer, "OUTPUT", oif=way.dev):
            if after.over:
                yield after
                continue
            for arrived in self._leave(after, way):
                if arrived.end is not End.DELIVERED:
                    yield changed(arrived, packet=inner) if arrived.over else arrived
                    continue
                yield from self._unwrap(branch, arrived, type(tunnel), header)

    def _unwrap(self, branch: _Branch, arrived: _Branch, kind: type, outer: Header) -> Iterator[_Branch]:
        device = self._net.tunnel_of(arrived.ns, kind)
        hops = arrived.hops[:-1]  # what receives the tunnel's packet is the tunnel
        if not device:
            yield changed(branch, hops=hops, end=End.LOST, why=f"{host(arrived.ns)} has no such tunnel")
            return
        command = commands.in_lab(self._lab, host(arrived.ns), f"tcpdump -nn -i {device.name}")
        hop = Hop(
            host(arrived.ns), Action.DECAPSULATE, _header(branch.packet), branch.packet.reply, device.name, outer=outer,
            mtu=self._mtu(arrived.ns, device.name), command=command,
        )  # fmt: skip
        chance = _times(branch.chance, arrived.chance) if branch.chance != arrived.chance else branch.chance
        inside = changed(branch, hops=(*hops, hop), chance=chance, doubts=arrived.doubts)
        yield from self._arrive(inside, arrived.ns, device.name)

    # --- Rules

    def _through(self, branch: _Branch, hook: str, iif: str = "", oif: str = "") -> Iterator[_Branch]:
        """What the chains of a hook make of the packet."""
        rules, addresses = self._of(branch.ns)
        before = changed(branch.packet, iif=iif, oif=oif)
        for outcome in evaluate(rules, before, hook, addresses):
            after = outcome.packet
            if after.masquerade:
                # An interface without an address borrows the first of the host's (inet_select_addr in devinet.c).
                own = addresses.on(oif) or next((one for one in addresses.local if not one.is_loopback), None)
                after = changed(after, source=own or after.source, source_port=0, masquerade=False)
            chance = _times(branch.chance, outcome.chance)
            on = changed(branch, packet=after, chance=chance, doubts=(*branch.doubts, *outcome.doubts))
            yield self._verdict(on, before, outcome)

    def _verdict(self, branch: _Branch, before: Packet, outcome: Outcome) -> _Branch:
        matches = tuple(_match(step) for step in outcome.steps if step.number)
        if outcome.verdict in _ENDS:
            action, end = _ENDS[outcome.verdict]
            last = outcome.steps[-1]
            cause = (
                path(_table(last), _first(outcome, _table(last)), [one for one in matches if one.table == _table(last)])
                if last.number
                else f"policy DROP of chain {last.chain} (table {last.table})"
            )
            branch = self._hop(branch, action, dev=before.iif or before.oif, matches=matches, cause=cause)
            verb = "rejects" if action is Action.REJECT else "drops"
            what = "the reply" if branch.packet.reply else "it"
            return _ended(branch, end, f"{host(branch.ns)} {verb} {what} by {cause}: {without_comment(last.rule)}")
        if outcome.verdict is Verdict.UNKNOWN:
            return _ended(branch, End.LOST, f"not understood: {', '.join(outcome.doubts)}")
        after = branch.packet
        for action, same in (
            (Action.DNAT, (before.destination, before.destination_port) == (after.destination, after.destination_port)),
            (Action.SNAT, before.source == after.source and not outcome.packet.masquerade),
        ):
            if not same:
                nat = tuple(match for match in matches if match.table == matches[-1].table)
                table = nat[-1].table
                cause = path(table, _first(outcome, table), nat)
                branch = self._hop(branch, action, dev=_dev(action, before), before=before, matches=nat, cause=cause)
        return changed(branch, masqueraded=branch.masqueraded or outcome.packet.masquerade)

    def _restored(self, branch: _Branch, hook: str, dev: str = "") -> _Branch:
        """What conntrack undoes of a reply at a hook: SNAT before the route is chosen, DNAT on the way out."""
        nat, packet = branch.nat.get(branch.ns), branch.packet
        if not nat or not packet.reply:
            return branch
        before = packet
        if hook in ("PREROUTING", "OUTPUT") and packet.destination == nat.went.source:
            packet = changed(packet, destination=nat.came.source, destination_port=nat.came.source_port)
            action = Action.REVERSE_SNAT
        elif hook in ("POSTROUTING", "INPUT") and packet.source == nat.went.destination:
            packet = changed(packet, source=nat.came.destination, source_port=nat.came.destination_port)
            action = Action.REVERSE_DNAT
        else:
            return branch
        branch = changed(branch, packet=packet)
        if packet.flow == before.flow and not (action is Action.REVERSE_SNAT and nat.masqueraded):
            return branch
        command = commands.connections(self._lab, host(branch.ns), nat.came.source)
        return self._hop(
            branch, action, dev=dev, before=before, cause="conntrack; no rule does this", by="kernel", command=command
        )

    # --- Words

    def _hop(
        self, branch: _Branch, action: Action, *, dev: str = "", way: _Way | None = None, iif: str = "",
        before: Packet | None = None, matches: tuple[Match, ...] = (), cause: str = "", by: str = "", command: str = "",
    ) -> _Branch:  # fmt: skip
        name, packet = host(branch.ns), branch.packet
        question = RouteQuestion(name, _header(packet), iif, packet.mark)
        if way:
            cause, by = f"route {way.taken}", self._authors.of_route(name, way.taken)
            command = commands.route(self._lab, question)
        elif matches:
            by = self._authors.of_rule(name, matches[-1])
            command = commands.chain(self._lab, name, matches[-1].table, matches[-1].chain)
        hop = Hop(
            name, action, _header(branch.inner or packet), (branch.inner or packet).reply, dev,
            before=_header(before) if before else None, outer=_header(packet) if branch.inner else None,
            cause=cause, by=by, matches=matches, mark=packet.mark,
            mtu=self._mtu(branch.ns, dev), command=command,
        )  # fmt: skip
        return changed(branch, hops=(*branch.hops, hop))

    def _lost(self, branch: _Branch, dev: str, why: str = "") -> _Branch:
        route = self._net.lookup(branch.ns, branch.packet.destination)
        why = why or ("a blackhole route drops it" if isinstance(route, Blackhole) else _NO_ROUTE)
        question = RouteQuestion(host(branch.ns), _header(branch.packet), dev)
        branch = self._hop(branch, Action.LOST, dev=dev, cause=why, command=commands.route(self._lab, question))
        what = "the reply" if branch.packet.reply else "it"
        # Of a missing route, the kernel tells the sender; of a blackhole, and where it does not forward, nobody.
        end = End.UNREACHABLE if why == _NO_ROUTE else End.LOST
        return _ended(branch, end, f"{host(branch.ns)} does not pass {what} on: {why}")

    def _mtu(self, ns: str, dev: str) -> int:
        return int(getattr(self._net.device(ns, dev), "mtu", 0) or 0)

    def _of(self, ns: str) -> tuple[Ruleset, Addresses]:
        if ns not in self._rules:
            self._rules[ns] = node_rules(self._net.within[ns]), node_addresses(self._net, ns)
        return self._rules[ns]


def _reply(there: _Branch) -> _Branch:
    """The answer to a packet that was delivered."""
    asked = there.packet
    packet = Packet(
        asked.destination, asked.source, asked.protocol, asked.destination_port, asked.source_port, icmp_type=0,
        length=asked.length, state="ESTABLISHED", reply=True, status=frozenset({"SEEN_REPLY", "CONFIRMED"}),
        origin=asked.flow,
    )  # fmt: skip
    return changed(there, packet=packet, came=packet.flow, end=None)


def _ended(branch: _Branch, end: End, why: str = "") -> _Branch:
    return changed(branch, end=end, why=why)


def _header(packet: Packet) -> Header:
    ports = (packet.source_port, packet.destination_port)
    return Header(packet.source, packet.destination, packet.protocol, ports, packet.ttl, packet.length)


def _match(step: Step) -> Match:
    verdict, _, target = step.result.partition(" ")
    return Match(_table(step), step.chain, verdict.lower(), target, without_comment(step.rule), step.comment)


def _times(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return one * other if one is not None and other is not None else None


def _table(step: Step) -> str:
    """The name of a rule's table: an nft table's without its family."""
    return step.table.rpartition(" ")[2]


def _first(outcome: Outcome, table: str) -> str:
    """The base chain of a table that the packet went through."""
    return next(step.chain for step in outcome.steps if _table(step) == table)


def _dev(action: Action, packet: Packet) -> str:
    """Where it came in, or goes out: a target changes before the route is chosen, a source after it."""
    before = action in (Action.DNAT, Action.REVERSE_SNAT)
    return (packet.iif or packet.oif) if before else (packet.oif or packet.iif)
