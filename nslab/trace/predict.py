"""A packet's journey computed from the State alone: its routes, its rules evaluated, its tunnels (pure).

Where rules draw lots there are several journeys, each with its chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.dataclass import replace as changed
from nslab.objects.links import Bridge, Veth
from nslab.objects.names import SWITCH, host, netns
from nslab.objects.tunnels import Ipip, Tun, Vxlan
from nslab.probes.probe import Kind
from nslab.trace import commands
from nslab.trace.branch import LO, Branch, Nat, ended, header_of, times
from nslab.trace.hops import NO_FORWARDING, Action, End, Hop
from nslab.trace.predicted_host import PredictedHosts
from nslab.trace.rules.packet import ICMP, TCP, UDP, HookPacket
from nslab.trace.walk import HOPS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from ipaddress import IPv4Address

    from nslab.trace.authors import Authors
    from nslab.trace.endpoints import TraceTarget
    from nslab.trace.observed import Header, RouteTaken
    from nslab.trace.topology import Topology

_KINDS = {Kind.TCP: (TCP, 60), Kind.UDP: (UDP, 49), Kind.ICMP: (ICMP, 44)}
"""Protocol, and the length in bytes of the packet that `trace` sends."""
_OVERHEAD = {Ipip: 20, Tun: 20, Vxlan: 50}
_VXLAN_PORT = 4789
_IPIP = 4


@dataclass(frozen=True, slots=True)
class Predicted:
    """One journey. `chance`: None if it depends on what is not understood, which `doubts` names."""

    hops: tuple[Hop, ...]
    end: End
    chance: Fraction | None
    why: str = ""
    doubts: tuple[str, ...] = ()


class Predictor:
    """Predicts for one lab."""

    def __init__(self, lab: str, net: Topology, authors: Authors) -> None:
        self._lab, self._net, self._authors = lab, net, authors
        self._hosts = PredictedHosts(lab, net, authors)

    def journeys(self, source: str, target: TraceTarget) -> list[Predicted]:
        """All journeys of a packet from the host `source`, with the reply of what is delivered."""
        assert target.address
        protocol, length = _KINDS[target.kind]
        ns = netns(self._lab, source)
        packet = HookPacket(
            self._hosts.source(ns, target.address), target.address, protocol, 0, target.port, length=length
        )
        done = []
        for there in self._send(Branch(packet, ns, packet.flow)):
            if there.end is End.DELIVERED:
                done += [self._predicted(back) for back in self._send(_reply(there))]
            else:
                done.append(self._predicted(there))
        return done

    def _predicted(self, branch: Branch) -> Predicted:
        return Predicted(branch.hops, branch.end or End.LOST, branch.chance, branch.why, branch.doubts)

    def _send(self, branch: Branch) -> Iterator[Branch]:
        if len(branch.hops) > HOPS:
            yield ended(branch, End.LOST, "it goes in a circle")
            return
        branch = self._hosts.restored(branch, "OUTPUT")
        way = self._hosts.way(branch.ns, branch.packet.destination)
        if not way:
            yield self._hosts.lost(branch, "")
            return
        for after in self._hosts.through(branch, "OUTPUT", oif=way.dev):
            again = self._hosts.way(after.ns, after.packet.destination) or way
            sent = self._hosts.hop(branch, Action.SEND, dev=again.dev, way=again).hops
            # What OUTPUT translates is routed once more.
            since = (changed(hop, dev=again.dev) for hop in after.hops[len(branch.hops) :])
            on = changed(after, hops=(*sent, *since))
            yield from [on] if on.over else self._leave(on, again)

    def _arrive(self, branch: Branch, ns: str, dev: str) -> Iterator[Branch]:
        if len(branch.hops) > HOPS:
            yield ended(branch, End.LOST, "it goes in a circle")
            return
        branch = changed(branch, ns=ns, came=branch.packet.flow, masqueraded=False)
        branch = self._hosts.restored(branch, "PREROUTING", dev)
        for after in self._hosts.through(branch, "PREROUTING", iif=dev):
            if after.over:
                yield after
            elif self._hosts.is_local(ns, after.packet.destination):
                yield from self._receive(after, dev)
            else:
                yield from self._forward(after, dev)

    def _receive(self, branch: Branch, dev: str) -> Iterator[Branch]:
        for after in self._hosts.through(branch, "INPUT", iif=dev):
            if after.over:
                yield after
            else:
                own = _remembered(self._hosts.restored(after, "INPUT", dev))
                yield ended(self._hosts.hop(own, Action.RECEIVE, dev=dev), End.DELIVERED)

    def _forward(self, branch: Branch, dev: str) -> Iterator[Branch]:
        way = self._hosts.way(branch.ns, branch.packet.destination)
        forwards = self._net.objects.get(("Sysctl", branch.ns, "net/ipv4/ip_forward"))
        if getattr(forwards, "value", "0") != "1":
            yield self._hosts.lost(branch, dev, NO_FORWARDING)
            return
        if not way:
            yield self._hosts.lost(branch, dev)
            return
        branch = changed(branch, packet=changed(branch.packet, ttl=branch.packet.ttl - 1))
        for after in self._hosts.through(branch, "FORWARD", iif=dev, oif=way.dev):
            if after.over:
                yield after
            else:
                yield from self._leave(self._hosts.hop(after, Action.FORWARD, dev=way.dev, way=way, iif=dev), way, dev)

    def _leave(self, branch: Branch, way: RouteTaken, iif: str = "") -> Iterator[Branch]:
        for translated in self._hosts.through(branch, "POSTROUTING", iif=iif, oif=way.dev):
            if translated.over:
                yield translated
                continue
            after = _remembered(self._hosts.restored(translated, "POSTROUTING", way.dev))
            if way.dev == LO:
                yield from self._arrive(after, after.ns, LO)
            else:
                yield from self._cross(after, way.dev, way.via or after.packet.destination)

    def _cross(self, branch: Branch, dev: str, via: IPv4Address) -> Iterator[Branch]:
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
                yield ended(branch, End.LOST, f"{host(ns)} has no {dev}")

    def _over_bridge(self, branch: Branch, ns: str, bridge: str, via: IPv4Address, came: str) -> Iterator[Branch]:
        net = self._net
        if came and net.owner(ns, via):
            yield from self._arrive(branch, ns, bridge)
            return
        for port in net.plugged[ns, bridge]:
            _, (other, end) = net.veths[ns, port]
            if net.owner(other, via):
                if came and branch.packet.reply and ns in branch.nat:
                    # Conntrack translates what the bridge passes, too (br_netfilter).
                    way = self._hosts.way(ns, via)
                    branch = self._hosts.restored(changed(branch, ns=ns), "PREROUTING", came)
                    branch = self._hosts.hop(branch, Action.FORWARD, dev=port, way=way)
                    branch = self._hosts.restored(branch, "POSTROUTING", port)
                elif came and host(ns) != SWITCH:
                    command = commands.in_lab(self._lab, host(ns), "bridge fdb show")
                    hop = Hop(
                        host(ns), Action.BRIDGE, header_of(branch.packet), branch.packet.reply, port,
                        cause=f"{came} to {port}", command=command,
                    )  # fmt: skip
                    branch = changed(branch, hops=(*branch.hops, hop))
                yield from self._arrive(branch, other, end)
                return
        yield ended(branch, End.LOST, f"nobody on {host(ns)}'s {bridge} has the address {via}")

    def _tunnel(self, branch: Branch, tunnel: Vxlan | Ipip | Tun, via: IPv4Address) -> Iterator[Branch]:
        """The tunnel's packet goes from node to node, where a device of the same kind takes the inner one out."""
        net, ns, inner = self._net, branch.ns, branch.packet
        to: IPv4Address | None = via
        if isinstance(tunnel, Vxlan):
            entry = net.neighbour(ns, tunnel.name, via)
            behind = net.forwarding(ns, tunnel.name, entry.mac) if entry else None
            to = behind.dst if behind else None
        way = self._hosts.way(ns, to) if to else None
        if to is None or not way:
            yield ended(branch, End.LOST, f"{host(ns)}'s {tunnel.name} knows no node behind {via}")
            return
        protocol, ports = (UDP, (0, _VXLAN_PORT)) if isinstance(tunnel, Vxlan) else (_IPIP, (0, 0))
        packet = HookPacket(
            self._hosts.source(ns, to), to, protocol, *ports, length=inner.length + _OVERHEAD[type(tunnel)], oif=way.dev
        )
        outer = changed(branch, packet=packet, came=packet.flow, nat={})
        header = header_of(packet)
        show = "proto 4" if protocol == _IPIP else f"udp port {_VXLAN_PORT}"
        wrapped = Hop(
            host(ns), Action.ENCAPSULATE, header_of(inner), inner.reply, way.dev, outer=header,
            cause=f"route {way}", by=self._authors.of_route(host(ns), way),
            mtu=self._hosts.mtu(ns, way.dev),
            command=commands.in_lab(self._lab, host(ns), f"tcpdump -nn -i {way.dev} {show}"),
        )  # fmt: skip
        outer = changed(outer, hops=(*outer.hops, wrapped), inner=inner)
        for after in self._hosts.through(outer, "OUTPUT", oif=way.dev):
            if after.over:
                yield after
                continue
            for arrived in self._leave(after, way):
                if arrived.end is not End.DELIVERED:
                    yield changed(arrived, packet=inner) if arrived.over else arrived
                    continue
                yield from self._unwrap(branch, arrived, type(tunnel), header)

    def _unwrap(self, branch: Branch, arrived: Branch, kind: type, outer: Header) -> Iterator[Branch]:
        device = self._net.tunnel_of(arrived.ns, kind)
        hops = arrived.hops[:-1]  # what receives the tunnel's packet is the tunnel
        if not device:
            yield changed(branch, hops=hops, end=End.LOST, why=f"{host(arrived.ns)} has no such tunnel")
            return
        command = commands.in_lab(self._lab, host(arrived.ns), f"tcpdump -nn -i {device.name}")
        hop = Hop(
            host(arrived.ns), Action.DECAPSULATE, header_of(branch.packet), branch.packet.reply, device.name,
            outer=outer, mtu=self._hosts.mtu(arrived.ns, device.name), command=command,
        )  # fmt: skip
        chance = times(branch.chance, arrived.chance) if branch.chance != arrived.chance else branch.chance
        inside = changed(branch, hops=(*hops, hop), chance=chance, doubts=arrived.doubts)
        yield from self._arrive(inside, arrived.ns, device.name)


def _remembered(branch: Branch) -> Branch:
    """With what conntrack keeps of a packet that its host has translated."""
    flow = branch.packet.flow
    if flow == branch.came or branch.packet.reply:
        return branch
    return changed(branch, nat={**branch.nat, branch.ns: Nat(branch.came, flow, branch.masqueraded)})


def _reply(there: Branch) -> Branch:
    """The answer to a packet that was delivered."""
    asked = there.packet
    packet = HookPacket(
        asked.destination, asked.source, asked.protocol, asked.destination_port, asked.source_port, icmp_type=0,
        length=asked.length, state="ESTABLISHED", reply=True, status=frozenset({"SEEN_REPLY", "CONFIRMED"}),
        origin=asked.flow,
    )  # fmt: skip
    return changed(there, packet=packet, came=packet.flow, end=None)
