"""The kernel objects of a predicted journey, in the order in which the packet meets them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, replace
from nslab.objects.container import Sandbox, Workload
from nslab.objects.inet import Address
from nslab.objects.names import host, netns
from nslab.objects.routes import Blackhole, Route
from nslab.objects.tunnels import Vxlan
from nslab.trace.branch import LO
from nslab.trace.hops import Action
from nslab.trace.needed_rules import rule_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.objects.base import KernelObject
    from nslab.objects.keys import Key
    from nslab.trace.hops import Hop
    from nslab.trace.topology import Topology

LEAVING = (Action.SEND, Action.FORWARD, Action.ENCAPSULATE, Action.BRIDGE)
"""After these, the packet is at an interface on its way out."""


@dataclass(frozen=True, slots=True)
class Need:
    """One object on the way. `to`: the address that was looked up, for a route. `reply`: on the way of the reply.

    `hop`: the number of the last hop that needs it, from 0. `translates`: it decides about the packet's source.
    """

    where: str
    obj: KernelObject
    sentence: str
    to: IPv4Address | None = None
    reply: bool = False
    translates: bool = False
    hop: int = 0

    @property
    def key(self) -> Key:
        """The object's key."""
        return self.obj.key

    @property
    def ns(self) -> str:
        """The object's namespace."""
        return self.obj.ns


def needed(lab: str, hops: Sequence[Hop], net: Topology, server: int = 0) -> tuple[Need, ...]:
    """What a journey needs, each object once on the way there and once on the way back.

    `server`: the port at which the target's own server listens, 0 if the prober does.
    """
    met: dict[tuple[Key, bool], Need] = {}
    for need in _Way(lab, hops, net, server).needs():
        known = met.get((need.key, need.reply), need)
        met[need.key, need.reply] = replace(known, hop=need.hop, to=known.to or need.to)
    return tuple(met.values())


class _Way:
    """The hops of one journey, and where the packet came in at each host."""

    def __init__(self, lab: str, hops: Sequence[Hop], net: Topology, server: int) -> None:
        self._lab, self._hops, self._net, self._server = lab, hops, net, server
        self._came = ""

    def needs(self) -> Iterator[Need]:
        """All needs of all hops; an object may come more than once."""
        left: tuple[str, str, IPv4Address] | None = None
        for number, hop in enumerate(self._hops):
            ns, following = netns(self._lab, hop.host), self._following(number)
            begins = not number or hop.reply is not self._hops[number - 1].reply
            self._came = "" if begins else self._came
            found = [*self._of(number, ns)]
            if hop.action in LEAVING:
                left = ns, hop.dev, self._next_hop(number, ns)
            if left and hop.dev == left[1] and (following is None or following.host != hop.host):
                over, came = _crossed(self._net, *left, netns(self._lab, following.host) if following else "")
                found += _met(self._net, *over)
                self._came, left = came, None
            yield from (replace(need, reply=hop.reply, hop=number) for need in found)

    def _following(self, number: int) -> Hop | None:
        """The next hop of the same direction."""
        later = self._hops[number + 1] if number + 1 < len(self._hops) else None
        return later if later and later.reply is self._hops[number].reply else None

    def _of(self, number: int, ns: str) -> Iterator[Need]:
        hop, net = self._hops[number], self._net
        yield from _met(net, ("Netns", ns))
        match hop.action:
            case Action.SEND | Action.FORWARD:
                if hop.action is Action.FORWARD:
                    yield from _met(net, *_forwards(ns, self._came))
                yield from self._leaves(number, ns)
            case Action.ENCAPSULATE:
                yield from _met(net, *self._tunnel(number, ns))
                yield from self._leaves(number, ns)
            case Action.DECAPSULATE:
                yield from _met(net, *_local(net, ns, hop.outer.target if hop.outer else None))
                yield from _met(net, *_interface(net, ns, hop.dev), ("Process", ns, "tunnel"))
                self._came = hop.dev
            case Action.BRIDGE:
                yield from _met(net, *_interface(net, ns, hop.dev))
            case Action.RECEIVE:
                yield from _met(net, *_local(net, ns, hop.header.target))
                yield from _met(net, *(_server(net, ns, self._server) if self._server and not hop.reply else ()))
            case Action.LOST:
                yield from _met(net, *_forwards(ns, self._came))
            case _:
                yield from self._changed(hop, ns)

    def _changed(self, hop: Hop, ns: str) -> Iterator[Need]:
        """What a rule or conntrack did: its rules, and the address by which the packet is the host's own."""
        net, source = self._net, hop.action is Action.SNAT
        if hop.action in (Action.REVERSE_SNAT, Action.DROP, Action.REJECT):
            yield from _met(net, *_local(net, ns, (hop.before or hop.header).target))
        yield from (replace(need, translates=source) for need in _met(net, *rule_keys(net, ns, hop)))

    def _target(self, number: int) -> IPv4Address:
        """The address that the host looks up: after the DNAT of what it sends itself, or the tunnel's other end."""
        hop, following = self._hops[number], self._following(number)
        if hop.action is Action.SEND and following and following.action is Action.DNAT and following.host == hop.host:
            return following.header.target
        return (hop.outer or hop.header).target

    def _next_hop(self, number: int, ns: str) -> IPv4Address:
        to = self._target(number)
        found = self._net.lookup(ns, to)
        return found.via if isinstance(found, Route) and found.via else to

    def _leaves(self, number: int, ns: str) -> Iterator[Need]:
        """The outgoing interface, and the route."""
        net, to, dev = self._net, self._target(number), self._hops[number].dev
        if dev == LO:
            yield from _met(net, ("LinkUp", ns, LO))
            return
        yield from _met(net, *_interface(net, ns, dev), *(own.key for own in net.addresses[ns] if own.dev == dev))
        via, route = self._next_hop(number, ns), net.lookup(ns, to)
        gateway = net.lookup(ns, via)
        if gateway and gateway != route:
            yield from _met(net, gateway.key, to=via)
        if route and not isinstance(route, Blackhole):
            yield from _met(net, route.key, to=to)

    def _tunnel(self, number: int, ns: str) -> Iterator[Key]:
        """What tells a tunnel the node behind which the packet's next hop is."""
        net, to = self._net, self._hops[number].header.target
        route = net.lookup(ns, to)
        if not isinstance(route, Route | Address):
            return
        if isinstance(net.device(ns, route.dev), Vxlan):
            via = route.via if isinstance(route, Route) and route.via else to
            if entry := net.neighbour(ns, route.dev, via):
                behind = net.forwarding(ns, route.dev, entry.mac)
                yield from (entry.key, *([behind.key] if behind else []))
        else:
            yield "Process", ns, "tunnel"


def _crossed(net: Topology, ns: str, dev: str, via: IPv4Address, to: str) -> tuple[list[Key], str]:
    """What carries a packet over the link at `dev` to the host `to` ("" if nobody gets it), and where it comes in."""
    if (ns, dev) in net.veths:
        _, (other, end) = net.veths[ns, dev]
        if port := net.port(other, end):
            keys, came = _over_bridge(net, other, port.bridge, via, to)
            return [*_interface(net, other, end), *keys], came
        return [*_over_veth(net, ns, dev, via)], end
    return _over_bridge(net, ns, dev, via, to) if net.bridge(ns, dev) else ([], "")


def _over_bridge(net: Topology, ns: str, bridge: str, via: IPv4Address, to: str) -> tuple[list[Key], str]:
    """Over a bridge to the port behind which the next host is; its own host gets what is for it at the bridge."""
    keys = [*_interface(net, ns, bridge)]
    if to == ns:
        return keys, bridge
    for port in net.plugged[ns, bridge]:
        _, (other, end) = net.veths[ns, port]
        if other == to and net.owner(other, via):
            at = [own.key for own in net.addresses[other] if own.address.ip == via and own.dev == end]
            return [*keys, *_interface(net, ns, port), ("Netns", other), ("LinkUp", other, end), *at], end
    return keys, ""


def _over_veth(net: Topology, ns: str, dev: str, via: IPv4Address) -> Iterator[Key]:
    """Over a veth without a bridge, between a pod and its node."""
    _, (other, end) = net.veths[ns, dev]
    yield from _interface(net, other, end)
    if entry := net.neighbour(ns, dev, via):
        yield entry.key
    if net.owner(other, via):
        return
    # No interface has that address: the node answers by proxy ARP, if it forwards and has a route to the address.
    yield from (*_forwards(other, end), ("Sysctl", other, f"net/ipv4/conf/{end}/proxy_arp"))
    hop = net.lookup(other, via)
    if isinstance(hop, Route | Address):
        yield from (("LinkUp", other, hop.dev), hop.key)


def _interface(net: Topology, ns: str, dev: str) -> Iterator[Key]:
    """An interface with what makes it, and its place in a bridge."""
    if device := net.device(ns, dev):
        yield from (*device.requires, device.key)
    yield from (("LinkUp", ns, dev), ("Port", ns, dev))


def _forwards(ns: str, came: str) -> Iterator[Key]:
    """A host forwards only with ip_forward, which also sets the `forwarding` of each interface."""
    yield from (("Sysctl", ns, "net/ipv4/ip_forward"), ("Sysctl", ns, f"net/ipv4/conf/{came}/forwarding"))


def _local(net: Topology, ns: str, address: IPv4Address | None) -> Iterator[Key]:
    """The host's own address."""
    if address and address.is_loopback:
        yield "LinkUp", ns, LO
    elif address and (own := net.owner(ns, address)):
        yield from (("LinkUp", ns, own.dev), own.key)


def _server(net: Topology, ns: str, port: int) -> Iterator[Key]:
    """The processes of a pod that listen at a port; all, if it declares none."""
    running = [obj for obj in net.within[ns] if isinstance(obj, Sandbox | Workload)]
    workloads = [process for process in running if isinstance(process, Workload)]
    serving = [process for process in workloads if process.port == port] or workloads
    pause = [process for process in running if isinstance(process, Sandbox)]
    for process in (*pause, *serving):
        yield from (("Process", process.node, "node"), process.key)


def _met(net: Topology, *keys: Key, to: IPv4Address | None = None) -> Iterator[Need]:
    """The needs for those of the keys that the lab has."""
    for key in keys:
        if obj := net.objects.get(key):
            yield Need(host(obj.ns), obj, obj.sentence, to)
