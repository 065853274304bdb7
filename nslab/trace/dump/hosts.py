"""The hosts of a prediction, as their dumps have them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace as changed
from nslab.trace.branch import LO, times
from nslab.trace.dump.authors import route_author, rule_author
from nslab.trace.predicted_host import PredictedHosts
from nslab.trace.rules.packet import HookPacket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.trace.branch import Branch
    from nslab.trace.dump.host import DumpedHost
    from nslab.trace.ipvs import VirtualServers
    from nslab.trace.observed import Match, RouteTaken
    from nslab.trace.rules.packet import Addresses
    from nslab.trace.rules.ruleset import NodeRules

_STRICT, _LOOSE = 1, 2


class DumpedHosts(PredictedHosts):
    """All dumped hosts by name, which is also what stands for their namespace."""

    def __init__(self, hosts: Sequence[DumpedHost]) -> None:
        self.all = {host.name: host for host in hosts}

    def name(self, ns: str) -> str:
        return ns

    def source(self, ns: str, target: IPv4Address) -> IPv4Address:
        return self.all[ns].source(target)

    def ways(self, branch: Branch, iif: str = "", /) -> Iterator[tuple[Branch, RouteTaken]]:
        for choice in self.all[branch.ns].routing.choices(branch.packet, iif):
            chance = times(branch.chance, choice.chance)
            yield changed(branch, chance=chance, doubts=(*branch.doubts, *choice.doubts)), choice.taken

    def rules(self, ns: str) -> tuple[NodeRules, Addresses]:
        return self.all[ns].rules, self.all[ns].asked

    def mtu(self, ns: str, dev: str) -> int:
        link = self.all[ns].links.get(dev)
        return link.mtu if link else 0

    def forwards(self, ns: str, iif: str, /) -> bool:
        return self.all[ns].forwards(iif)

    def wrote(self, _ns: str, way: RouteTaken, /) -> str:
        return route_author(way)

    def wrote_rule(self, _ns: str, match: Match, /) -> str:
        return rule_author(match)

    def refuses(self, branch: Branch, iif: str, /) -> str:
        host, packet = self.all[branch.ns], branch.packet
        if iif == LO:
            return ""
        if packet.destination.is_loopback and not host.setting("route_localnet", iif):
            return f"127.0.0.0/8 is not reached from {iif} (route_localnet)"
        if host.owns(packet.source) and not host.setting("accept_local", iif):
            return f"it comes in at {iif} with an address of the node itself (accept_local)"
        mark = packet.mark if host.setting("src_valid_mark", iif) else 0
        back = host.routing.choices(HookPacket(packet.destination, packet.source, mark=mark))
        devs = {choice.taken.dev for choice in back if not choice.taken.error}
        mode = host.setting("rp_filter", iif)
        if (mode == _STRICT and iif not in devs) or (mode == _LOOSE and not devs):
            led = f"the route to {packet.source} leads to {', '.join(sorted(devs))}" if devs else "no route leads back"
            return f"rp_filter={mode} of {iif}: {led}"
        return ""

    def deaf(self, branch: Branch, /) -> str:
        packet = branch.packet
        if packet.reply or branch.inner or self.all[branch.ns].listens(packet):
            return ""
        there = f"{branch.ns} has the address {packet.destination}"
        return f"{there}, and nothing listens there on port {packet.destination_port}"

    def virtual_servers(self, ns: str) -> VirtualServers:
        return self.all[ns].virtual_servers
