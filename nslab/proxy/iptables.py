"""iptables mode, as kube-proxy 1.33 and later write it.

KUBE-SERVICES matches a Service by its address; KUBE-SVC- (policy Cluster) or KUBE-SVL- (policy Local) picks a random
endpoint; KUBE-SEP- does the DNAT. External traffic goes through KUBE-EXT-, with source ranges after KUBE-FW-. Rules are
spelled as in the output of `iptables-save`, so that they compare with it as text.
"""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.proxy.choose import choose, externally_accessible
from nslab.proxy.mode import Part
from nslab.proxy.names import endpoint_hash, port_hash, port_name
from nslab.ruletext.iptables import iptables_commands, sysctl_commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.proxy.choose import UsableEndpoints
    from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
    from nslab.ruletext.items import Body, Item, Items, NodeCommand

SERVICES: Item = ("chain", "nat", "KUBE-SERVICES")
NODE_PORTS: Item = ("chain", "nat", "KUBE-NODEPORTS")
FILTER_SERVICES: Item = ("chain", "filter", "KUBE-SERVICES")
EXTERNAL: Item = ("chain", "filter", "KUBE-EXTERNAL-SERVICES")
HEALTH_CHECKS: Item = ("chain", "filter", "KUBE-NODEPORTS")
FIREWALL: Item = ("chain", "filter", "KUBE-PROXY-FIREWALL")
_SHARED = (HEALTH_CHECKS, FILTER_SERVICES, EXTERNAL, FIREWALL, SERVICES, NODE_PORTS)

MARK_MASQ = (("chain", "nat", "KUBE-MARK-MASQ"), ("-j MARK --set-xmark 0x4000/0x4000",))
"""Bit 14 of the mark: masquerade this packet."""
LOCALNET = (
    '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
ROUTE_LOCALNET: Item = ("sysctl", "net/ipv4/conf/all/route_localnet", "0")

_NEW = "-m conntrack --ctstate NEW "
_TO_FIREWALL = f'{_NEW}-m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'
_TO_HEALTH_CHECKS = '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS'
_TO_EXTERNAL = f'{_NEW}-m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
_TO_FORWARD = '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'
_TO_SERVICES = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
_TO_POSTROUTING = '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'
_JUMPS = {
    ("filter", "INPUT"): ("-j KUBE-FIREWALL", _TO_FIREWALL, _TO_HEALTH_CHECKS, _TO_EXTERNAL),
    ("filter", "FORWARD"): (_TO_FIREWALL, _TO_FORWARD, _NEW + _TO_SERVICES, _TO_EXTERNAL),
    ("filter", "OUTPUT"): ("-j KUBE-FIREWALL", _TO_FIREWALL, _NEW + _TO_SERVICES),
    ("nat", "PREROUTING"): (_TO_SERVICES,),
    ("nat", "OUTPUT"): (_TO_SERVICES,),
    ("nat", "POSTROUTING"): (_TO_POSTROUTING,),
}
"""From top to bottom."""


def part(service: ServiceInfo, proxy: Proxy) -> Part:
    """The chains of one Service, and its rules in shared chains. A headless Service has none."""
    own: Items = {}
    lines: dict[Item, list[str]] = {}
    for port in service.ports if service.cluster_ip else ():
        rules = _Rules(service, port, proxy)
        for item, rule in rules.shared():
            lines.setdefault(item, []).append(rule)
        if rules.choice.somewhere:
            own.update(rules.chains())
    return Part(own, {item: tuple(body) for item, body in lines.items()})


def frame(parts: Iterable[Part], proxy: Proxy) -> Items:
    """The chains with fixed names, and the jumps to them from the built-in chains."""
    shared: dict[Item, list[str]] = {item: [] for item in _SHARED}
    for part in parts:
        for item, rules in part.lines.items():
            shared[item] += rules
    shared[SERVICES] += _to_node_ports(proxy)
    items: Items = {("chain", table, "KUBE-PROXY-CANARY"): () for table in ("mangle", "nat", "filter")}
    items |= {item: tuple(rules) for item, rules in shared.items()}
    items["chain", "filter", "KUBE-FIREWALL"] = (LOCALNET,) if _on_localhost(proxy) else ()
    items["chain", "filter", "KUBE-FORWARD"] = tuple(forward(proxy))
    items["chain", "nat", "KUBE-POSTROUTING"] = tuple(postrouting(proxy))
    items |= [MARK_MASQ]
    # Each is inserted before the existing rules.
    items |= {("jump", *where, rule, "first"): () for where, rules in _JUMPS.items() for rule in reversed(rules)}
    if _on_localhost(proxy):
        items[ROUTE_LOCALNET] = ("1",)
    return items


def commands(old: Items, new: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
    """One iptables-restore of all tables, and the sysctl if it changed."""
    return (*sysctl_commands(old, new), *iptables_commands(old, new, proxy.iptables))


def forward(proxy: Proxy) -> Iterator[str]:
    """KUBE-FORWARD: accepts Service traffic even if the policy of FORWARD is DROP."""
    if not proxy.liberal:
        # The kernel does not undo NAT for a reply outside TCP's window: the client would reset the connection.
        yield "-m conntrack --ctstate INVALID -j DROP"
    yield '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT'
    established = "-m conntrack --ctstate RELATED,ESTABLISHED"
    yield f'-m comment --comment "kubernetes forwarding conntrack rule" {established} -j ACCEPT'


def postrouting(proxy: Proxy) -> Iterator[str]:
    """KUBE-POSTROUTING: masquerades marked packets, and clears the mark: the packet may traverse the chain again."""
    yield "-m mark ! --mark 0x4000/0x4000 -j RETURN"
    yield "-j MARK --set-xmark 0x4000/0x0"
    masquerade = '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE'
    yield f"{masquerade} --random-fully" if proxy.random_fully else masquerade


class _Rules:
    """The rules of one port of one Service."""

    def __init__(self, service: ServiceInfo, port: Port, proxy: Proxy) -> None:
        self.service, self.port, self.proxy = service, port, proxy
        self.choice: UsableEndpoints = choose(service, port, proxy)
        self.name, self.protocol = port_name(service, port), port.protocol.lower()
        self.hash = port_hash(self.name, self.protocol)
        self.inside = f"KUBE-SV{'L' if service.internal_local else 'C'}-{self.hash}"
        self.to_cluster_ip = self._to(service.cluster_ip, f"{self.name} cluster IP")
        self.inside_here = self.choice.somewhere and bool(self.choice.local or not service.internal_local)
        self.outside_here = self.choice.somewhere and bool(self.choice.local or not service.external_local)
        ranged = any(":" not in source for source in service.source_ranges) if service.source_ranges else False
        self.guarded = ranged and bool(service.load_balancer_ips) and self.choice.somewhere

    def shared(self) -> Iterator[tuple[Item, str]]:
        """Rules in the shared chains, which match packets by destination."""
        name, service, somewhere = self.name, self.service, self.choice.somewhere
        verdict = self._verdict()
        if self.inside_here:
            yield SERVICES, f"{self.to_cluster_ip} -j {self.inside}"
        else:
            yield FILTER_SERVICES, f"{self._to(service.cluster_ip, verdict[0])} -j {verdict[1]}"
        for ip in service.external_ips:
            if somewhere:
                yield SERVICES, f"{self._to(ip, f'{name} external IP')} -j KUBE-EXT-{self.hash}"
            if not self.outside_here:
                yield EXTERNAL, f"{self._to(ip, verdict[0])} -j {verdict[1]}"
        chain = f"KUBE-FW-{self.hash}" if self.guarded else f"KUBE-EXT-{self.hash}"
        for ip in service.load_balancer_ips:
            if somewhere:
                yield SERVICES, f"{self._to(ip, f'{name} loadbalancer IP')} -j {chain}"
            if self.guarded:
                yield FIREWALL, f"{self._to(ip, f'{name} traffic not accepted by {chain}')} -j DROP"
        if not self.outside_here:
            for ip in service.load_balancer_ips:
                yield EXTERNAL, f"{self._to(ip, verdict[0])} -j {verdict[1]}"
        yield from self._node_ports(verdict)

    def _node_ports(self, verdict: tuple[str, str]) -> Iterator[tuple[Item, str]]:
        protocol, number = self.protocol, self.port.node_port
        if number and self.choice.somewhere:
            # Node ports bypass the load balancer's source ranges.
            match = f'-p {protocol} -m comment --comment "{self.name}" -m {protocol} --dport {number}'
            yield NODE_PORTS, f"{match} -j KUBE-EXT-{self.hash}"
        if number and not self.outside_here:
            match = f'-p {protocol} -m comment --comment "{verdict[0]}" -m addrtype --dst-type LOCAL -m {protocol}'
            yield EXTERNAL, f"{match} --dport {number} -j {verdict[1]}"
        if (number := self.service.health_check_node_port) and self.service.external_local:
            # With policy Cluster a load balancer does not check nodes: each one forwards.
            match = f'-p tcp -m comment --comment "{self.name} health check node port" -m tcp --dport {number}'
            yield HEALTH_CHECKS, f"{match} -j ACCEPT"

    def _verdict(self) -> tuple[str, str]:
        """Comment and target of the rule for packets without a usable endpoint."""
        if self.choice.somewhere:
            # Other nodes have endpoints: without a reply, the client tries again, perhaps at another node.
            return f"{self.name} has no local endpoints", "DROP"
        return f"{self.name} has no endpoints", "REJECT --reject-with icmp-port-unreachable"

    def chains(self) -> Iterator[tuple[Item, Body]]:
        """The port's own chains in nat, each before those that it jumps to."""
        found: dict[int, tuple[str, str]] = {}  # by id(): hashing endpoints takes longer than naming them
        for end in self.choice.reachable:
            address = f"{end.ip}:{end.port}"
            found[id(end)] = address, f"KUBE-SEP-{endpoint_hash(self.name, self.protocol, address)}"
        if self.guarded:
            yield ("chain", "nat", f"KUBE-FW-{self.hash}"), tuple(self._firewall())
        if externally_accessible(self.service, self.port):
            yield ("chain", "nat", f"KUBE-EXT-{self.hash}"), tuple(self._external())
        for prefix, ends in (("KUBE-SVC", self.choice.cluster), ("KUBE-SVL", self.choice.local)):
            if ends:
                name = f"{prefix}-{self.hash}"
                yield ("chain", "nat", name), tuple(self._balanced(name, [found[id(end)] for end in ends]))
        for end in self.choice.reachable:
            address, sep = found[id(end)]
            yield ("chain", "nat", sep), self._endpoint(end, address, sep)

    def _balanced(self, chain: str, ends: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Masquerades packets from outside the pod network; then picks the previous endpoint, or a random one."""
        if chain == self.inside:
            source = "" if self.proxy.masquerade_all else _not_from(self.proxy.cluster_cidr)
            if source is not None:
                yield f"{source}{self.to_cluster_ip} -j KUBE-MARK-MASQ"
        targets = [(self._comment(f"{self.name} -> {address}"), sep) for address, sep in ends]
        if self.service.affinity:
            for comment, sep in targets:
                recent = f"-m recent --rcheck --seconds {self.service.affinity} --reap --name {sep}"
                yield f"{comment}{recent} --mask 255.255.255.255 --rsource -j {sep}"
        left = len(targets)
        for comment, sep in targets:
            yield f"{comment}{_chance(left)}-j {sep}"
            left -= 1

    def _endpoint(self, end: Endpoint, address: str, sep: str) -> tuple[str, str]:
        """Masquerades the endpoint's own packets, which its kernel would drop as martians; then DNATs."""
        comment = self._comment(self.name)
        recent = f"-m recent --set --name {sep} --mask 255.255.255.255 --rsource " if self.service.affinity else ""
        return (
            f"-s {end.ip}/32 {comment}-j KUBE-MARK-MASQ",
            f"-p {self.protocol} {comment}{recent}-m {self.protocol} -j DNAT --to-destination {address}",
        )

    def _external(self) -> Iterator[str]:
        """KUBE-EXT-: traffic to node ports and external addresses."""
        cluster, whose = f"KUBE-SVC-{self.hash}", f"for {self.name} external destinations"
        if not self.service.external_local:
            # The endpoint may be on another node; its reply must come back through this one.
            yield f'-m comment --comment "masquerade traffic {whose}" -j KUBE-MARK-MASQ'
            yield f"-j {cluster}"
            return
        if self.proxy.cluster_cidr:
            source = _from(self.proxy.cluster_cidr)
            yield f'{source}-m comment --comment "pod traffic {whose}" -j {cluster}'
        local = "-m addrtype --src-type LOCAL"
        yield f'-m comment --comment "masquerade LOCAL traffic {whose}" {local} -j KUBE-MARK-MASQ'
        yield f'-m comment --comment "route LOCAL traffic {whose}" {local} -j {cluster}'
        if self.choice.local:
            yield f"-j KUBE-SVL-{self.hash}"

    def _firewall(self) -> Iterator[str]:
        """KUBE-FW-: a load balancer's address with source ranges; the filter table drops what no rule here accepts."""
        comment = f'-m comment --comment "{self.name} loadbalancer IP" -j KUBE-EXT-{self.hash}'
        ranges = [IPv4Network(source, strict=False) for source in self.service.source_ranges if ":" not in source]
        for source in ranges:
            yield f"{_from(str(source))}{comment}"
        if any(IPv4Address(ip) in source for ip in self.proxy.addresses[:1] for source in ranges):
            # If the node has the address itself, it is the source of the node's own packets.
            for ip in self.service.load_balancer_ips:
                yield f"-s {ip}/32 {comment}"
        yield f'-m comment --comment "other traffic to {self.name} will be dropped by KUBE-PROXY-FIREWALL"'

    def _comment(self, text: str) -> str:
        return "" if self.proxy.large else f'-m comment --comment "{text}" '

    def _to(self, ip: str, comment: str) -> str:
        protocol = self.protocol
        return f'-d {ip}/32 -p {protocol} -m comment --comment "{comment}" -m {protocol} --dport {self.port.port}'


def _to_node_ports(proxy: Proxy) -> Iterator[str]:
    note = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"
    end = f'-m comment --comment "{note}" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
    ranges = [IPv4Network(one, strict=False) for one in proxy.node_port_addresses]
    if not ranges or any(one.prefixlen == 0 for one in ranges):
        yield end if proxy.localhost_node_ports else f"! -d 127.0.0.0/8 {end}"
        return
    for ip in (*(["127.0.0.1"] if _on_localhost(proxy) else ()), *proxy.addresses):
        if any(IPv4Address(ip) in one for one in ranges):
            yield f'-d {ip}/32 -m comment --comment "{note}" -j KUBE-NODEPORTS'


def _on_localhost(proxy: Proxy) -> bool:
    """Whether node ports are reachable at 127.0.0.1, which the kernel routes only with route_localnet."""
    ranges = [IPv4Network(one, strict=False) for one in proxy.node_port_addresses]
    loopback = IPv4Network("127.0.0.0/8")
    return proxy.localhost_node_ports and (not ranges or any(one.overlaps(loopback) for one in ranges))


def _from(network: str) -> str:
    # iptables-save does not print a source that matches every packet.
    return "" if network.endswith("/0") else f"-s {network} "


def _not_from(network: str) -> str | None:
    return f"! -s {network} " if network and not network.endswith("/0") else None


@cache
def _chance(left: int) -> str:
    """The match of one in `left` packets, as iptables-save prints it: the kernel stores multiples of 2^-31."""
    if left == 1:
        return ""
    parts = round(0x80000000 * float(f"{1 / left:.10f}"))
    return f"-m statistic --mode random --probability {parts / 0x80000000:.11f} "
