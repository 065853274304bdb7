"""A packet's path through a lab: every kernel object that it needs, in the order in which it meets them (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from nslab.compiler.underlay import UPLINK
from nslab.dataclass import dataclass, replace
from nslab.objects.container import Sandbox, Workload
from nslab.objects.inet import Address
from nslab.objects.ipset import SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.links import Bridge, Veth
from nslab.objects.names import host, netns
from nslab.objects.routes import Blackhole, Route
from nslab.objects.tunnels import Ipip, Tun, Vxlan
from nslab.probes import LOOPBACK, Expected, places

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from ipaddress import IPv4Address

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject
    from nslab.objects.keys import Key
    from nslab.probes import Probe
    from nslab.trace.topology import End, Topology

HOPS = 32
"""The maximum number of hops; a packet that has not arrived by then is in a loop."""
_MATCH_SET = re.compile(r"--match-set (\S+)")
_TARGET = re.compile(r"-[jg] (\S+)")


@dataclass(frozen=True, slots=True)
class Need:
    """One object on the path. `to`: the address that was looked up, for a route. `reply`: on the path of the reply."""

    where: str
    obj: KernelObject
    sentence: str
    to: IPv4Address | None = None
    reply: bool = False
    translates: bool = False

    @property
    def key(self) -> Key:
        """The object's key."""
        return self.obj.key

    @property
    def ns(self) -> str:
        """The object's namespace."""
        return self.obj.ns


def depends(lab: Lab, probe: Probe, net: Topology) -> tuple[Need, ...]:
    """The objects that the packet of `probe` needs, then those of its reply; each at its first use."""
    met: dict[tuple[Key, bool], Need] = {}
    for need in _needs(lab, probe, net):
        known = met.setdefault((need.key, need.reply), need)
        if known.to is None and need.to:
            met[need.key, need.reply] = need
    return tuple(met.values())


def _needs(lab: Lab, probe: Probe, net: Topology) -> Iterator[Need]:
    source, target = netns(lab.name, probe.source), netns(lab.name, probe.target)
    if probe.address == LOOPBACK:
        yield from _met(net, ("Netns", target), ("LinkUp", target, "lo"))
        yield from _server(probe, target, net)
        return
    own = next(place.address for place in places(lab) if place.name == probe.source)
    seen = probe.expected_source or own
    yield from _way(net, source, probe.address, leaves_as=None if net.owner(source, seen) else seen)
    if probe.expected is Expected.FAIL:
        return
    yield from _server(probe, target, net)
    translator = yield from _replies(_way(net, target, seen))
    if translator and translator != source:
        # Conntrack undoes the NAT, and the node forwards the reply.
        yield from _replies(_way(net, translator, own, came_in=UPLINK))


_Way: TypeAlias = "Generator[Need, None, str]"
_Crossing: TypeAlias = "Generator[Need, None, End | None]"


def _way(net: Topology, ns: str, to: IPv4Address, came_in: str = "", leaves_as: IPv4Address | None = None) -> _Way:
    """The path from `ns` to the owner of `to`. Returns the owner's namespace, or "" if there is no path."""
    for _ in range(HOPS):
        yield from _met(net, ("Netns", ns))
        if own := net.owner(ns, to):
            yield from _met(net, ("LinkUp", ns, own.dev), own.key)
            return ns
        if came_in:
            yield from _forwards(net, ns, came_in)
        hop = net.lookup(ns, to)
        if hop is None or isinstance(hop, Blackhole):
            return ""
        via = hop.via if isinstance(hop, Route) and hop.via else to
        yield from _leaves(net, ns, hop, to, via)
        if came_in and leaves_as and net.owner(ns, leaves_as):
            yield from _translated(net, ns)
            leaves_as = None
        crossed = yield from _cross(net, ns, hop.dev, via)
        if crossed is None:
            return ""
        ns, came_in = crossed
    return ""


def _forwards(net: Topology, ns: str, came_in: str) -> Iterator[Need]:
    """A machine forwards only with ip_forward, which also sets the `forwarding` of each interface."""
    yield from _met(net, ("Sysctl", ns, "net/ipv4/ip_forward"), ("Sysctl", ns, f"net/ipv4/conf/{came_in}/forwarding"))


def _leaves(net: Topology, ns: str, hop: Route | Address, to: IPv4Address, via: IPv4Address) -> Iterator[Need]:
    """The outgoing interface, and the route."""
    yield from _interface(net, ns, hop.dev)
    yield from _met(net, *(own.key for own in net.addresses[ns] if own.dev == hop.dev))
    gateway = net.lookup(ns, via)
    if gateway and gateway != hop:
        yield from _met(net, gateway.key, to=via)
    yield from _met(net, hop.key, to=to)


def _interface(net: Topology, ns: str, dev: str) -> Iterator[Need]:
    if device := net.device(ns, dev):
        yield from _met(net, *device.requires, device.key)
    yield from _met(net, ("LinkUp", ns, dev), ("Port", ns, dev))


def _cross(net: Topology, ns: str, dev: str, via: IPv4Address) -> _Crossing:
    """Crosses the link at `dev`. Returns the next interface that receives the packet, or None."""
    match net.device(ns, dev):
        case Veth():
            _, (other, end) = net.veths[ns, dev]
            if port := net.port(other, end):
                yield from _interface(net, other, end)
                return (yield from _over_bridge(net, other, port.bridge, via))
            yield from _over_veth(net, ns, dev, via)
            return other, end
        case Bridge():
            return (yield from _over_bridge(net, ns, dev, via))
        case Vxlan():
            if entry := net.neighbour(ns, dev, via):
                yield from _met(net, entry.key)
                if behind := net.forwarding(ns, dev, entry.mac):
                    yield from _met(net, behind.key)
                    return (yield from _tunnelled(net, ns, Vxlan, behind.dst))
            return None
        case Ipip() | Tun() as tunnel:
            yield from _met(net, ("Process", ns, "tunnel"))
            return (yield from _tunnelled(net, ns, type(tunnel), via))
        case _:
            return None


def _over_veth(net: Topology, ns: str, dev: str, via: IPv4Address) -> Iterator[Need]:
    """Crosses a veth without a bridge, between a pod and its node."""
    _, (other, end) = net.veths[ns, dev]
    yield from _interface(net, other, end)
    if entry := net.neighbour(ns, dev, via):
        yield from _met(net, entry.key)
    if net.owner(other, via):
        return
    # No interface has that address: the node answers by proxy ARP, if it forwards and has a route to the address.
    yield from _forwards(net, other, end)
    yield from _met(net, ("Sysctl", other, f"net/ipv4/conf/{end}/proxy_arp"))
    hop = net.lookup(other, via)
    if isinstance(hop, Route | Address):
        yield from _met(net, ("LinkUp", other, hop.dev), hop.key, to=via)


def _over_bridge(net: Topology, ns: str, bridge: str, via: IPv4Address) -> _Crossing:
    """Crosses a bridge to the port behind which a machine has `via`."""
    yield from _interface(net, ns, bridge)
    if net.owner(ns, via):
        return ns, bridge
    for port in net.plugged[ns, bridge]:
        _, (other, end) = net.veths[ns, port]
        if net.owner(other, via):
            yield from _interface(net, ns, port)
            yield from _met(
                net, ("Netns", other), ("LinkUp", other, end), ("Address", other, end, _on(net, other, via))
            )
            return other, end
    return None


def _on(net: Topology, ns: str, address: IPv4Address) -> str:
    own = net.owner(ns, address)
    return str(own.address) if own else ""


def _tunnelled(net: Topology, ns: str, kind: type[Vxlan | Ipip | Tun], outer: IPv4Address) -> _Crossing:
    """Crosses a tunnel: the outer packet goes from node to node, to a device of the same kind."""
    other = yield from _way(net, ns, outer)
    if not other or not (device := net.tunnel_of(other, kind)):
        return None
    yield from _interface(net, other, device.name)
    yield from _met(net, ("Process", other, "tunnel"))
    return other, device.name


def _translated(net: Topology, ns: str) -> Iterator[Need]:
    """All objects that decide whether a packet is masqueraded: from POSTROUTING down to the sets' members."""
    rules = [obj for obj in net.within[ns] if isinstance(obj, Jump) and obj.chain == "POSTROUTING"]
    pending: list[Jump | Chain] = list(rules)
    while pending:
        at = pending.pop(0)
        yield from _met(net, at.key, translates=True)
        for rule in (at.rule,) if isinstance(at, Jump) else at.rules:
            chains = (net.objects.get(("Chain", ns, at.table, name)) for name in _TARGET.findall(rule))
            pending += [chain for chain in chains if isinstance(chain, Chain)]
            for name in _MATCH_SET.findall(rule):
                members = [obj.key for obj in net.within[ns] if isinstance(obj, SetMember) and obj.set == name]
                yield from _met(net, ("IpSet", ns, name), *members, translates=True)


def _server(probe: Probe, ns: str, net: Topology) -> Iterator[Need]:
    """The processes of the pod's own server, if the probe is for it, and not for the prober."""
    if not probe.port:
        return
    running = [obj for obj in net.within[ns] if isinstance(obj, Sandbox | Workload)]
    workloads = [process for process in running if isinstance(process, Workload)]
    serving = [process for process in workloads if process.port == probe.port] or workloads
    pause = [process for process in running if isinstance(process, Sandbox)]
    for process in (*pause, *serving):
        yield from _met(net, ("Process", process.node, "node"), process.key)


def _replies(way: _Way) -> _Way:
    try:
        while True:
            yield replace(next(way), reply=True)
    except StopIteration as end:
        found: str = end.value
        return found


def _met(net: Topology, *keys: Key, to: IPv4Address | None = None, translates: bool = False) -> Iterator[Need]:
    """The needs for those of the keys that the lab has."""
    for key in keys:
        if obj := net.objects.get(key):
            yield Need(host(obj.ns), obj, obj.sentence, to, translates=translates)
