"""A packet's journey computed and not sent: routes looked up, rules evaluated, tunnels followed (pure).

Where rules or routes draw lots there are several journeys, each with its chance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.dataclass import replace as changed
from nslab.probes.probe import Kind
from nslab.quote import fill
from nslab.trace.balanced import balanced
from nslab.trace.branch import LO, Branch, Nat, ended, header_of, times
from nslab.trace.hops import NO_FORWARDING, TTL_OVER, Action, End, Hop, route_cause, too_big
from nslab.trace.icmp_error import icmp_error
from nslab.trace.rules.packet import ICMP, TCP, UDP, HookPacket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from ipaddress import IPv4Address

    from nslab.trace.endpoints import TraceTarget
    from nslab.trace.observed import Header, RouteTaken
    from nslab.trace.predicted_host import PredictedHosts

_KINDS = {Kind.TCP: (TCP, 60), Kind.UDP: (UDP, 49), Kind.ICMP: (ICMP, 44), Kind.MTU: (ICMP, 44)}
"""Protocol, and the length in bytes of the packet that `trace` sends."""
HOPS = 32
"""The maximum number of hops; a packet that has not arrived by then is in a loop."""
IPIP = 4
CIRCLE = "it goes in a circle"
TOO_LONG = "Message too long"
"""What the kernel tells a sender that allows no fragments (EMSGSIZE)."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """One journey. `chance`: None if it depends on what is not understood, which `doubts` names."""

    hops: tuple[Hop, ...]
    end: End
    chance: Fraction | None
    why: str = ""
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel as a packet meets it: its interface, and the outer packet's protocol and port.

    `overhead`: in bytes; `key`: what its other end has in common with it.
    """

    dev: str
    protocol: int
    overhead: int
    port: int = 0
    key: object = None


class Predictor(ABC):
    """What IPv4 does with a packet on each host. How one host reaches the next, a subclass knows."""

    def __init__(self, hosts: PredictedHosts) -> None:
        self.hosts = hosts

    @abstractmethod
    def cross(self, branch: Branch, dev: str, via: IPv4Address) -> Iterator[Branch]:
        """To the next host that looks at the packet."""

    @abstractmethod
    def other_end(self, ns: str, tunnel: Tunnel) -> str:
        """The interface of a host that takes out what a tunnel puts in; "" if it has none."""

    def journeys(self, ns: str, target: TraceTarget) -> list[Predicted]:
        """All journeys of a packet from a host, with the reply of what is delivered."""
        return [*self.each(ns, target)]

    def each(self, ns: str, target: TraceTarget, *, errors: bool = True) -> Iterator[Predicted]:
        """The same, one after the other. `errors`: with the way of an ICMP error that comes back."""
        assert target.address
        packet = probe(self.hosts.source(ns, target.address), target)
        for there in self.send(Branch(packet, ns, packet.flow)):
            yield from map(predicted, self.answered(there, errors=errors))

    def answered(self, there: Branch, *, errors: bool = True) -> Iterator[Branch]:
        """With what comes back: the reply of what is delivered, or the ICMP error that tells of a loss."""
        if there.end is End.DELIVERED:
            yield from self.send(reply(there))
        elif error := icmp_error(there, self.hosts) if errors else None:
            for back in self.send(error):
                yield changed(there, hops=back.hops, chance=back.chance, doubts=back.doubts)
        else:
            yield there

    def send(self, branch: Branch) -> Iterator[Branch]:
        """What a host sends itself."""
        if len(branch.hops) > HOPS:
            yield ended(branch, End.LOST, CIRCLE)
            return
        for routed, way in self.hosts.ways(self.hosts.restored(branch, "OUTPUT")):
            if way.error:
                yield self.hosts.lost(routed, "", way.error)
                continue
            if not routed.packet.reply and routed.packet.length > self.hosts.mtu(routed.ns, way.dev) > 0:
                yield ended(routed, End.UNREACHABLE, f"{self.hosts.name(routed.ns)} sends nothing: {TOO_LONG}")
                continue
            for after in self.hosts.through(routed, "OUTPUT", oif=way.dev):
                if after.over:
                    sent = self.hosts.hop(branch, Action.SEND, dev=way.dev, way=way).hops
                    yield changed(after, hops=(*sent, *after.hops[len(branch.hops) :]))
                else:
                    for on in [*balanced(self.hosts, after, "")] or [after]:
                        yield from [on] if on.over else self._sent(branch, on, way)

    def _sent(self, branch: Branch, after: Branch, first: RouteTaken) -> Iterator[Branch]:
        """What OUTPUT translates is routed once more. `first`: the way that it had before."""
        for on, again in self.hosts.ways(after):
            way = first if again.error else again
            *before, own = self.hosts.hop(branch, Action.SEND, dev=way.dev, way=way).hops
            translated = on.packet.destination != branch.packet.destination
            sent = (*before, changed(own, cause=route_cause(first if translated else None, way)))
            mtu = self.hosts.mtu(on.ns, way.dev)
            since = (changed(hop, dev=way.dev, mtu=mtu) for hop in on.hops[len(branch.hops) :])
            moved = changed(on, hops=(*sent, *since))
            yield from [self.hosts.lost(moved, "", again.error)] if again.error else self.leave(moved, way)

    def arrive(self, branch: Branch, ns: str, dev: str) -> Iterator[Branch]:
        """At an interface of a host."""
        if len(branch.hops) > HOPS:
            yield ended(branch, End.LOST, CIRCLE)
            return
        branch = changed(branch, ns=ns, came=branch.packet.flow, masqueraded=False)
        if dev != LO:  # what comes by lo has its mark, and passed OUTPUT, where conntrack undid the same
            branch = self.hosts.restored(changed(branch, packet=changed(branch.packet, mark=0)), "PREROUTING", dev)
        for after in self.hosts.through(branch, "PREROUTING", iif=dev):
            if after.over:
                yield after
                continue
            for on, way in self.hosts.ways(after, dev):
                if refused := self.hosts.refuses(on, dev):
                    yield self.hosts.lost(on, dev, refused)
                elif way.kind == "local":
                    yield from self._receive(on, dev)
                else:
                    yield from self._forward(on, dev, way)

    def _receive(self, branch: Branch, dev: str) -> Iterator[Branch]:
        for after in self.hosts.through(branch, "INPUT", iif=dev):
            if after.over:
                yield after
            elif servers := [*balanced(self.hosts, after, dev)]:
                for on in servers:
                    yield from [on] if on.over else self._balanced(on, dev)
            else:
                own = _remembered(self.hosts.restored(after, "INPUT", dev))
                got = self.hosts.hop(own, Action.RECEIVE, dev=dev)
                nobody = self.hosts.deaf(got)
                yield ended(got, End.REFUSED if nobody else End.DELIVERED, nobody)

    def _balanced(self, branch: Branch, dev: str) -> Iterator[Branch]:
        """IPVS sends on what it takes at INPUT, by OUTPUT and POSTROUTING."""
        branch = changed(branch, packet=changed(branch.packet, ttl=branch.packet.ttl - 1))
        for on, way in self.hosts.ways(branch):
            if way.error:
                yield self.hosts.lost(on, dev, way.error)
                continue
            for after in self.hosts.through(on, "OUTPUT", oif=way.dev):
                if after.over:
                    yield after
                else:
                    yield from self.leave(self.hosts.hop(after, Action.FORWARD, dev=way.dev, way=way, iif=dev), way)

    def _forward(self, branch: Branch, dev: str, way: RouteTaken) -> Iterator[Branch]:
        if not self.hosts.forwards(branch.ns, dev):
            yield self.hosts.lost(branch, dev, NO_FORWARDING)
            return
        if way.error:
            yield self.hosts.lost(branch, dev, way.error)
            return
        if branch.packet.ttl <= 1:
            yield self.hosts.lost(branch, dev, TTL_OVER)
            return
        if branch.packet.length > (mtu := self.hosts.mtu(branch.ns, way.dev)) > 0:
            yield self.hosts.lost(branch, dev, too_big(branch.packet.length, way.dev, mtu), told=True)
            return
        branch = changed(branch, packet=changed(branch.packet, ttl=branch.packet.ttl - 1))
        for after in self.hosts.through(branch, "FORWARD", iif=dev, oif=way.dev):
            if after.over:
                yield after
            else:
                yield from self.leave(self.hosts.hop(after, Action.FORWARD, dev=way.dev, way=way, iif=dev), way, dev)

    def leave(self, branch: Branch, way: RouteTaken, iif: str = "") -> Iterator[Branch]:
        """By the interface of a route."""
        for translated in self.hosts.through(branch, "POSTROUTING", iif=iif, oif=way.dev):
            if translated.over:
                yield translated
                continue
            after = _remembered(self.hosts.restored(translated, "POSTROUTING", way.dev))
            if way.dev == LO:
                yield from self.arrive(after, after.ns, LO)
            else:
                yield from self.cross(after, way.dev, way.via or after.packet.destination)

    def through_tunnel(
        self, branch: Branch, tunnel: Tunnel, to: IPv4Address | None, via: IPv4Address
    ) -> Iterator[Branch]:
        """The tunnel's packet goes from node to node, where a device of the same kind takes the inner one out."""
        unknown = f"{self.hosts.name(branch.ns)}'s {tunnel.dev} knows no node behind {via}"
        if to is None:
            yield ended(branch, End.LOST, unknown)
            return
        inner = branch.packet
        packet = HookPacket(
            self.hosts.source(branch.ns, to), to, tunnel.protocol, 0, tunnel.port,
            mark=inner.mark, length=inner.length + tunnel.overhead,
        )  # fmt: skip
        for on, way in self.hosts.ways(changed(branch, packet=packet, came=packet.flow, nat={})):
            if way.error:
                yield ended(branch, End.LOST, unknown)
                continue
            outer = changed(on, hops=(*on.hops, self._wrapped(on, inner, tunnel, way)), inner=inner)
            for after in self.hosts.through(outer, "OUTPUT", oif=way.dev):
                for arrived in [after] if after.over else self.leave(after, way):
                    if arrived.end is End.DELIVERED:
                        yield from self._unwrap(branch, arrived, tunnel, header_of(packet))
                    else:
                        yield changed(arrived, packet=inner)

    def _wrapped(self, branch: Branch, inner: HookPacket, tunnel: Tunnel, way: RouteTaken) -> Hop:
        hosts, ns = self.hosts, branch.ns
        show = "proto 4" if tunnel.protocol == IPIP else fill("udp port {}", tunnel.port)
        return Hop(
            hosts.name(ns), Action.ENCAPSULATE, header_of(inner), inner.reply, way.dev, outer=header_of(branch.packet),
            cause=f"route {way}", by=hosts.wrote(ns, way), mtu=hosts.mtu(ns, way.dev),
            command=hosts.command(ns, fill("tcpdump -nn -i {} ", way.dev) + show),
        )  # fmt: skip

    def _unwrap(self, branch: Branch, arrived: Branch, tunnel: Tunnel, outer: Header) -> Iterator[Branch]:
        hosts, ns = self.hosts, arrived.ns
        dev = self.other_end(ns, tunnel)
        hops = arrived.hops[:-1]  # what receives the tunnel's packet is the tunnel
        if not dev:
            yield changed(branch, hops=hops, end=End.LOST, why=f"{hosts.name(ns)} has no such tunnel")
            return
        hop = Hop(
            hosts.name(ns), Action.DECAPSULATE, header_of(branch.packet), branch.packet.reply, dev, outer=outer,
            mtu=hosts.mtu(ns, dev), command=hosts.command(ns, fill("tcpdump -nn -i {}", dev)),
        )  # fmt: skip
        chance = times(branch.chance, arrived.chance) if branch.chance != arrived.chance else branch.chance
        inside = changed(branch, hops=(*hops, hop), chance=chance, doubts=arrived.doubts)
        yield from self.arrive(inside, ns, dev)


def _remembered(branch: Branch) -> Branch:
    """With what conntrack keeps of a packet that its host has translated."""
    flow = branch.packet.flow
    if flow == branch.came or branch.packet.reply:
        return branch
    return changed(branch, nat={**branch.nat, branch.ns: Nat(branch.came, flow, branch.masqueraded)})


def probe(source: IPv4Address, target: TraceTarget) -> HookPacket:
    """The packet that `trace` sends."""
    assert target.address
    protocol, length = _KINDS[target.kind]
    return HookPacket(source, target.address, protocol, 0, target.port, length=target.size or length)


def predicted(branch: Branch) -> Predicted:
    """A branch that is over, as a journey."""
    return Predicted(branch.hops, branch.end or End.LOST, branch.chance, branch.why, branch.doubts)


def reply(there: Branch) -> Branch:
    """The answer to a packet that was delivered."""
    asked = there.packet
    packet = HookPacket(
        asked.destination, asked.source, asked.protocol, asked.destination_port, asked.source_port, icmp_type=0,
        length=asked.length, state="ESTABLISHED", reply=True, status=frozenset({"SEEN_REPLY", "CONFIRMED"}),
        origin=asked.flow,
    )  # fmt: skip
    return changed(there, packet=packet, came=packet.flow, end=None, why="", handed="")
