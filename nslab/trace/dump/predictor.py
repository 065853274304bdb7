"""A packet's way through dumped nodes, up to where it leaves them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace as changed
from nslab.quote import fill
from nslab.trace.branch import Branch, ended, header_of
from nslab.trace.dump.hosts import DumpedHosts
from nslab.trace.dump.links import FLOOD
from nslab.trace.hops import Action, End, Hop
from nslab.trace.predict import IPIP, Predicted, Predictor, Tunnel, predicted, probe, reply
from nslab.trace.rules.packet import UDP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.trace.dump.ends import TraceStart
    from nslab.trace.dump.host import DumpedHost
    from nslab.trace.dump.links import DumpedLink
    from nslab.trace.endpoints import TraceTarget

_VXLAN_PORT = 4789
_OPAQUE = ("wireguard", "gre", "gretap", "geneve", "sit", "ip6tnl", "ip6gre", "vti", "xfrm", "tun", "erspan", "ppp")
"""Drivers of tunnels that are not followed."""
_STAND_IN = "tunl0"
"""nslab's own tunnel where the kernel has no ipip: a TUN device of that name, with the same packets outside."""


class DumpPredictor(Predictor):
    """Predicts for the hosts of which there are dumps."""

    def __init__(self, hosts: Sequence[DumpedHost]) -> None:
        self._own = DumpedHosts(hosts)
        super().__init__(self._own)

    def from_start(self, start: TraceStart, target: TraceTarget) -> Iterator[Predicted]:
        """All journeys from a dumped host, or from another one that reaches a dumped host's interface."""
        packet = probe(start.address, target)
        branch = Branch(packet, start.host, packet.flow)
        way = self._enter(self._came_in(branch, start), start.host, start.dev) if start.dev else self.send(branch)
        return (predicted(end) for there in way for end in self.answered(there))

    def _came_in(self, branch: Branch, start: TraceStart) -> Branch:
        hop = Hop(
            start.host, Action.ENTER, header_of(branch.packet), dev=start.dev, cause=start.why,
            mtu=self.hosts.mtu(start.host, start.dev),
            command=self.hosts.command(start.host, fill("ip route get {}", str(start.address))),
        )  # fmt: skip
        return changed(branch, hops=(hop,))

    def answered(self, there: Branch, *, errors: bool = True) -> Iterator[Branch]:
        """With what comes back; of what is handed to its target itself, as if that answered."""
        last = there.hops[-1] if there.hops else None
        if there.end is End.LEFT and last and there.handed:
            note = f"there is no dump of {there.packet.destination}: the reply is computed as if it answered"
            asked = changed(there, hops=(*there.hops[:-1], changed(last, note=note)))
            for back in self._enter(reply(asked), there.ns, there.handed):
                yield _as_if(there, back)
        else:
            yield from super().answered(there, errors=errors)

    def _enter(self, branch: Branch, ns: str, dev: str) -> Iterator[Branch]:
        """From a host without a dump. What is for another one behind the same bridge, the bridge alone passes."""
        host, packet = self._own.all[ns], branch.packet
        if not host.bridges(dev, packet.source, packet.destination):
            yield from self.arrive(branch, ns, dev)
        elif packet.reply and ns in branch.nat and not host.bridge_calls:
            untouched = f"{dev} passes the reply without conntrack (bridge-nf-call-iptables), so from another address"
            yield ended(branch, End.LOST, f"{ns} does not undo its translation: {untouched}")
        else:
            for passed in self._filtered(changed(branch, ns=ns), dev):
                handed = changed(passed, handed=dev) if not packet.reply else passed
                left = f"{_left(passed, dev, packet.destination)}, of which there is no dump"
                yield passed if passed.over else ended(self._bridged(handed, ns, dev), End.LEFT, left)

    def _filtered(self, branch: Branch, bridge: str) -> Iterator[Branch]:
        """What FORWARD makes of a packet that a bridge passes, if the bridge calls iptables (br_netfilter)."""
        host, packet = self._own.all[branch.ns], branch.packet
        if not host.bridge_calls:
            return iter([branch])
        into, out = (self._known_port(host, bridge, address) for address in (packet.source, packet.destination))
        crossing = changed(branch, packet=changed(packet, physdev_in=into, physdev_out=out))
        return map(_off_the_bridge, self.hosts.through(crossing, "FORWARD", iif=bridge, oif=bridge))

    def arrive(self, branch: Branch, ns: str, dev: str) -> Iterator[Branch]:
        host = self._own.all[ns]
        bridged = dev in host.links and host.links[dev].kind == "bridge" and host.bridge_calls
        port = self._known_port(host, dev, branch.packet.source) if bridged else ""
        return super().arrive(changed(branch, packet=changed(branch.packet, physdev_in=port)), ns, dev)

    def cross(self, branch: Branch, dev: str, via: IPv4Address) -> Iterator[Branch]:
        host = self._own.all[branch.ns]
        link = host.links.get(dev)
        if link is None:
            yield ended(branch, End.LOST, f"{host.name} has no {dev}")
        elif not link.up:
            yield ended(branch, End.LOST, f"{host.name}'s {dev} is down")
        elif tunnel := _tunnel(link):
            yield from self.through_tunnel(branch, tunnel, self._behind(host, link, via), via)
        elif link.kind in _OPAQUE:
            yield ended(
                branch, End.LEFT, f"{_left(branch, dev, via)}, into a tunnel ({link.kind}) that is not followed"
            )
        elif there := self._next(branch, link, via):
            yield from self._arrive_at(branch, *there)
        else:
            handed = dev if via == branch.packet.destination and not branch.inner else ""
            left = changed(branch, handed=handed)
            yield ended(left, End.LEFT, f"{_left(branch, dev, via)}, of which there is no dump")

    def other_end(self, ns: str, tunnel: Tunnel) -> str:
        for link in self._own.all[ns].links.values():
            other = _tunnel(link)
            if other and (other.protocol, other.port, other.key) == (tunnel.protocol, tunnel.port, tunnel.key):
                return link.name
        return ""

    def _behind(self, host: DumpedHost, link: DumpedLink, via: IPv4Address) -> IPv4Address | None:
        """The outer target of a tunnel; None if it is not known."""
        if link.remote or link.kind != "vxlan":
            return link.remote or via
        mac = host.neighbours.get((link.name, via), "")
        known = host.forwarding.get((link.name, mac)) or host.forwarding.get((link.name, FLOOD), [])
        far = {to for to, _ in known if to}
        return far.pop() if len(far) == 1 else None

    def _next(self, branch: Branch, link: DumpedLink, via: IPv4Address) -> tuple[str, str] | None:
        """The dumped host, and its interface, at the other end of a link; None if it is none."""
        others = [other for other in self._own.all.values() if other.name != branch.ns]
        for other in others:
            if dev := other.owns(via):
                return other.name, dev
        own = {one.address.ip for one in self._own.all[branch.ns].addresses if one.dev == link.name}
        # A node answers ARP for its pods' gateway, an address that nobody has: its route to the pod tells.
        found = [
            (other.name, there[0])
            for other in others
            for address in own
            if (there := other.routing.direct(address)) and there[1] == 32
        ]
        return found[0] if len(found) == 1 else None

    def _arrive_at(self, branch: Branch, ns: str, dev: str) -> Iterator[Branch]:
        """At another dumped host; by the bridge of a third, if it stands between two pods."""
        bridge = self._bridge_between(branch, ns)
        yield from self.arrive(self._bridged(branch, *bridge) if bridge else branch, ns, dev)

    def _bridge_between(self, branch: Branch, ns: str) -> tuple[str, str] | None:
        """A host and its bridge, if its network has addresses of both."""
        ends = [{one.address.ip for one in self._own.all[name].addresses} for name in (branch.ns, ns)]
        for host in self._own.all.values():
            for one in host.addresses:
                link, network = host.links.get(one.dev), one.address.network
                between = host.name not in (branch.ns, ns) and link and link.kind == "bridge"
                if between and all(any(address in network for address in own) for own in ends):
                    return host.name, one.dev
        return None

    def _bridged(self, branch: Branch, ns: str, bridge: str) -> Branch:
        """What a bridge passes: of a reply, conntrack undoes the translation if the bridge calls iptables."""
        host, packet = self._own.all[ns], branch.packet
        into, out = (self._port(host, bridge, address) for address in (packet.source, packet.destination))
        if packet.reply and ns in branch.nat and host.bridge_calls:
            branch = self.hosts.restored(changed(branch, ns=ns), "PREROUTING", into)
            way = next(way for _, way in self.hosts.ways(branch, bridge))
            branch = self.hosts.hop(branch, Action.FORWARD, dev=out, way=way)
            return self.hosts.restored(branch, "POSTROUTING", out)
        hop = Hop(
            ns, Action.BRIDGE, header_of(packet), packet.reply, out,
            cause=f"{into} to {out}", command=self.hosts.command(ns, "bridge fdb show"),
        )  # fmt: skip
        return changed(branch, hops=(*branch.hops, hop))

    def _port(self, host: DumpedHost, bridge: str, address: IPv4Address) -> str:
        """The port behind which an address is; the bridge itself if that is not known."""
        return self._known_port(host, bridge, address) or bridge

    def _known_port(self, host: DumpedHost, bridge: str, address: IPv4Address) -> str:
        """The port; "" if it is not known."""
        mac = host.neighbours.get((bridge, address), "")
        return next((port for _, port in host.forwarding.get((bridge, mac), [])), "")


def _off_the_bridge(branch: Branch) -> Branch:
    return changed(branch, packet=changed(branch.packet, physdev_in="", physdev_out=""))


def _as_if(there: Branch, back: Branch) -> Branch:
    """How a journey ends whose reply was computed as if somebody answered of whom there is no dump."""
    match back.end:
        case End.DELIVERED:
            return ended(back, End.LEFT, f"{there.why}; if it answers, the reply gets back")
        case End.LEFT:
            return ended(back, End.LEFT, f"{there.why}; {back.why}")
        case _:
            return back


def _tunnel(link: DumpedLink) -> Tunnel | None:
    if link.kind == "vxlan":
        return Tunnel(link.name, UDP, 50, link.port or _VXLAN_PORT, link.key)
    if link.kind in ("ipip", "tunl") or (link.kind, link.name) == ("tun", _STAND_IN):
        return Tunnel(link.name, IPIP, 20)
    return None


def _left(branch: Branch, dev: str, via: IPv4Address) -> str:
    what = "the reply leaves" if branch.packet.reply else "leaves"
    return f"{what} {branch.ns} by {dev} towards {via}"
