"""The prediction for a lab: its hosts and links as its State has them (pure)."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from nslab.dataclass import replace as changed
from nslab.objects.base import Add
from nslab.objects.inet import Address
from nslab.objects.ipvs import Server
from nslab.objects.links import Bridge, Veth
from nslab.objects.names import SWITCH, host
from nslab.objects.process import Bird
from nslab.objects.routes import Blackhole, Route
from nslab.objects.tunnels import Ipip, Tun, Vxlan
from nslab.trace.branch import LO, ended, header_of
from nslab.trace.hops import BLACKHOLE, NO_ROUTE, Action, End, Hop
from nslab.trace.ipvs import virtual_servers as read_servers
from nslab.trace.observed import Match, RouteTaken
from nslab.trace.predict import IPIP, Predictor, Tunnel
from nslab.trace.predicted_host import PredictedHosts
from nslab.trace.rules.from_state import node_addresses, node_rules
from nslab.trace.rules.packet import UDP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.trace.authors import Authors
    from nslab.trace.branch import Branch
    from nslab.trace.ipvs import VirtualServers
    from nslab.trace.rules.packet import Addresses
    from nslab.trace.rules.ruleset import NodeRules
    from nslab.trace.topology import Topology


class LabHosts(PredictedHosts):
    """The hosts of one lab; reads each host's rules once."""

    def __init__(self, lab: str, net: Topology, authors: Authors) -> None:
        self.lab, self._net, self._authors = lab, net, authors
        self._rules: dict[str, tuple[NodeRules, Addresses]] = {}
        self._balancers: dict[str, VirtualServers] = {}

    def name(self, ns: str) -> str:
        return host(ns)

    def source(self, ns: str, target: IPv4Address) -> IPv4Address:
        if self.is_local(ns, target):
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

    def is_local(self, ns: str, address: IPv4Address) -> bool:
        """Whether it is an address of the host itself."""
        return address.is_loopback or self._net.owner(ns, address) is not None

    def ways(self, branch: Branch, _iif: str = "", /) -> list[tuple[Branch, RouteTaken]]:
        return [(branch, self.way(branch.ns, branch.packet.destination))]

    def way(self, ns: str, to: IPv4Address) -> RouteTaken:
        """How a host sends a packet to an address."""
        if self.is_local(ns, to):
            return RouteTaken("local", IPv4Network(to), dev=LO, protocol="kernel")
        match self._net.lookup(ns, to):
            case Address(address=own, dev=dev):
                return RouteTaken("unicast", own.network, dev=dev, protocol="kernel")
            case Route() as route:
                return RouteTaken("unicast", route.to, route.via, route.dev, route.protocol, onlink=route.onlink)
            case Blackhole():
                return RouteTaken(error=BLACKHOLE)
            case _:
                return RouteTaken(error=NO_ROUTE)

    def lost(self, branch: Branch, dev: str, why: str, *, told: bool = False) -> Branch:
        """Where BIRD runs, what the State has no route for may have one: then the prediction is not sure."""
        branch = super().lost(branch, dev, why, told=told)
        if why != NO_ROUTE or not any(isinstance(obj, Bird) for obj in self._net.within[branch.ns]):
            return branch
        return changed(branch, chance=None, doubts=(*branch.doubts, "routes that BIRD learned"))

    def rules(self, ns: str) -> tuple[NodeRules, Addresses]:
        if ns not in self._rules:
            self._rules[ns] = node_rules(self._net.within[ns]), node_addresses(self._net, ns)
        return self._rules[ns]

    def mtu(self, ns: str, dev: str) -> int:
        return int(getattr(self._net.device(ns, dev), "mtu", 0) or 0)

    def forwards(self, ns: str, _iif: str, /) -> bool:
        forwards = self._net.objects.get(("Sysctl", ns, "net/ipv4/ip_forward"))
        return getattr(forwards, "value", "0") == "1"

    def virtual_servers(self, ns: str, /) -> VirtualServers:
        if ns not in self._balancers:
            servers = sorted((obj for obj in self._net.within[ns] if isinstance(obj, Server)), key=lambda obj: obj.rank)
            self._balancers[ns] = read_servers("\n".join(server.command(Add(server)) for server in servers))
        return self._balancers[ns]

    def wrote(self, ns: str, way: RouteTaken, /) -> str:
        return self._authors.of_route(host(ns), way)

    def wrote_rule(self, ns: str, match: Match, /) -> str:
        return self._authors.of_rule(host(ns), match)


class LabPredictor(Predictor):
    """Predicts for one lab."""

    def __init__(self, lab: str, net: Topology, authors: Authors) -> None:
        self._own = LabHosts(lab, net, authors)
        super().__init__(self._own)
        self._net = net

    def cross(self, branch: Branch, dev: str, via: IPv4Address) -> Iterator[Branch]:
        net, ns = self._net, branch.ns
        branch = _by_port(branch, "")
        match net.device(ns, dev):
            case Veth():
                _, (other, end) = net.veths[ns, dev]
                port = net.port(other, end)
                if not port:
                    yield from self.arrive(branch, other, end)
                else:
                    yield from self._over_bridge(branch, other, port.bridge, via, end)
            case Bridge():
                yield from self._over_bridge(branch, ns, dev, via, "")
            case Vxlan() as device:
                entry = net.neighbour(ns, dev, via)
                behind = net.forwarding(ns, dev, entry.mac) if entry else None
                tunnel = Tunnel(dev, UDP, 50, device.port, Vxlan)
                yield from self.through_tunnel(branch, tunnel, behind.dst if behind else None, via)
            case Ipip() | Tun() as device:
                yield from self.through_tunnel(branch, Tunnel(dev, IPIP, 20, key=type(device)), via, via)
            case _:
                yield ended(branch, End.LOST, f"{host(ns)} has no {dev}")

    def other_end(self, ns: str, tunnel: Tunnel) -> str:
        assert isinstance(tunnel.key, type)
        device = self._net.tunnel_of(ns, tunnel.key)
        return device.name if device else ""

    def _over_bridge(self, branch: Branch, ns: str, bridge: str, via: IPv4Address, came: str) -> Iterator[Branch]:
        net = self._net
        if came and net.owner(ns, via):
            yield from self.arrive(_by_port(branch, came) if self._calls_iptables(ns) else branch, ns, bridge)
            return
        for port in net.plugged[ns, bridge]:
            _, (other, end) = net.veths[ns, port]
            if net.owner(other, via):
                if came and branch.packet.reply and ns in branch.nat:
                    # Conntrack translates what the bridge passes, too (br_netfilter).
                    branch = self.hosts.restored(changed(branch, ns=ns), "PREROUTING", came)
                    branch = self.hosts.hop(branch, Action.FORWARD, dev=port, way=self._own.way(ns, via))
                    branch = self.hosts.restored(branch, "POSTROUTING", port)
                elif came and host(ns) != SWITCH:
                    hop = Hop(
                        host(ns), Action.BRIDGE, header_of(branch.packet), branch.packet.reply, port,
                        cause=f"{came} to {port}", command=self.hosts.command(ns, "bridge fdb show"),
                    )  # fmt: skip
                    branch = changed(branch, hops=(*branch.hops, hop))
                yield from self.arrive(branch, other, end)
                return
        yield ended(branch, End.LOST, f"nobody on {host(ns)}'s {bridge} has the address {via}")

    def _calls_iptables(self, ns: str) -> bool:
        """Whether rules see by which port of a bridge a packet came (br_netfilter)."""
        return getattr(self._net.objects.get(("Sysctl", ns, "net/bridge/bridge-nf-call-iptables")), "value", "0") == "1"


def _by_port(branch: Branch, port: str) -> Branch:
    """The packet that came by a port of a bridge; "": by no bridge."""
    if branch.packet.physdev_in == port:
        return branch
    return changed(branch, packet=changed(branch.packet, physdev_in=port))
