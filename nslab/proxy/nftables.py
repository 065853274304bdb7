"""nftables mode: one table with maps from addresses and ports to chains, as kube-proxy 1.34 and later writes it.

Chains come after those that they jump to, so that the items can also be added one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.proxy.choose import choose, externally_accessible
from nslab.proxy.mode import Part
from nslab.proxy.names import nft_name, port_name
from nslab.ruletext.items import NodeCommand
from nslab.ruletext.nft import nft_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.proxy.choose import UsableEndpoints
    from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
    from nslab.ruletext.items import Body, Item, Items

TABLE = "kube-proxy"
LONGEST_COMMENT = 128
"""Bytes (NFTNL_UDATA_COMMENT_MAXLEN): nft refuses a whole transaction for a longer one."""
_MARK = "0x4000"
_ADDRESS_KEY = "type ipv4_addr . inet_proto . inet_service : verdict ;"
_PORT_KEY = "type inet_proto . inet_service : verdict ;"


def part(service: ServiceInfo, proxy: Proxy) -> Part:
    """One Service: for each port its chains, and the map elements that lead to them. Empty for a headless one."""
    own: Items = {}
    if service.cluster_ip:
        for port in service.ports:
            own.update(_OnePort(service, port, proxy).items())
    return Part(own)


def frame(parts: Iterable[Part], proxy: Proxy) -> Items:  # noqa: ARG001  # no Service has rules in shared chains
    """The table, its maps, and the chains for all packets."""
    every = proxy.node_port_addresses and any(cidr.endswith("/0") for cidr in proxy.node_port_addresses)
    to_node = "fib daddr type local ip daddr != 127.0.0.0/8" if every else "ip daddr @nodeport-ips"
    items: Items = {("nft-table", TABLE): ("rules for kube-proxy",), **_sets()}
    if every:
        del items["nft-set", TABLE, "nodeport-ips"]
    items.update((("nft-chain", TABLE, name), body) for name, body in _helpers(proxy.service_cidr, to_node))
    items.update((("nft-chain", TABLE, name), body) for name, body in _HOOKED.items())
    if not every:
        items.update((("nft-element", TABLE, "nodeport-ips", ip), ("", "")) for ip in _node_port_ips(proxy))
    return items


def _sets() -> Items:
    elements = {
        ("nft-set", TABLE, "cluster-ips"): ("type ipv4_addr ;", "Active ClusterIPs"),
        ("nft-set", TABLE, "nodeport-ips"): ("type ipv4_addr ;", "IPs that accept NodePort traffic"),
        ("nft-map", TABLE, "firewall-ips"): (_ADDRESS_KEY, "destinations that are subject to LoadBalancerSourceRanges"),
        ("nft-map", TABLE, "no-endpoint-nodeports"): (
            _PORT_KEY,
            "vmap to drop or reject packets to service nodeports with no endpoints",
        ),
        ("nft-map", TABLE, "no-endpoint-services"): (
            _ADDRESS_KEY,
            "vmap to drop or reject packets to services with no endpoints",
        ),
        ("nft-map", TABLE, "service-ips"): (_ADDRESS_KEY, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
        ("nft-map", TABLE, "service-nodeports"): (_PORT_KEY, "NodePort traffic"),
    }
    return {item: (f'{kind} comment "{comment}" ;',) for item, (kind, comment) in elements.items()}


def _helpers(service_cidr: str, to_node: str) -> Iterator[tuple[str, Body]]:
    unallocated = f'ip daddr {{ {service_cidr} }} drop comment "Drop traffic to unallocated ClusterIPs"'
    yield "reject-chain", ('comment "helper for @no-endpoint-services / @no-endpoint-nodeports" ;', "reject")
    yield "mark-for-masquerade", ("", f"mark set mark or {_MARK}")
    yield (
        "masquerading",
        ("", f"mark and {_MARK} == 0 return", f"mark set mark xor {_MARK}", "masquerade fully-random"),
    )
    yield (
        "cluster-ips-check",
        (
            "",
            'ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"',
            *((unallocated,) if service_cidr else ()),
        ),
    )
    yield "firewall-check", ("", "ip daddr . meta l4proto . th dport vmap @firewall-ips")
    yield "nodeport-endpoints-check", ("", f"{to_node} meta l4proto . th dport vmap @no-endpoint-nodeports")
    yield "service-endpoints-check", ("", "ip daddr . meta l4proto . th dport vmap @no-endpoint-services")
    yield (
        "services",
        (
            "",
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            f"{to_node} meta l4proto . th dport vmap @service-nodeports",
        ),
    )


def _hook(kind: str, hook: str, priority: int, *rules: str) -> Body:
    return (f"type {kind} hook {hook} priority {priority} ;", *rules)


# -110 is just before DNAT: source ranges are checked with the original destination address.
_HOOKED: dict[str, Body] = {
    "filter-prerouting-pre-dnat": _hook("filter", "prerouting", -110, "ct state new jump firewall-check"),
    "filter-output-pre-dnat": _hook("filter", "output", -110, "ct state new jump firewall-check"),
    "filter-forward": _hook(
        "filter",
        "forward",
        0,
        "ct state new jump service-endpoints-check",
        "ct state new jump cluster-ips-check",
    ),
    "filter-input": _hook(
        "filter",
        "input",
        0,
        "ct state new jump nodeport-endpoints-check",
        "ct state new jump service-endpoints-check",
    ),
    "filter-output": _hook(
        "filter",
        "output",
        0,
        "ct state new jump service-endpoints-check",
        "ct state new jump cluster-ips-check",
    ),
    "nat-output": _hook("nat", "output", -100, "jump services"),
    "nat-postrouting": _hook("nat", "postrouting", 100, "jump masquerading"),
    "nat-prerouting": _hook("nat", "prerouting", -100, "jump services"),
}


def _node_port_ips(proxy: Proxy) -> Sequence[str]:
    """The addresses for node ports: the node's first, unless --nodeport-addresses selects others."""
    if proxy.node_port_addresses in ((), ("primary",)):
        return proxy.addresses[:1]
    return [ip for ip in proxy.addresses if _within(ip, proxy.node_port_addresses)]


def _within(ip: str, networks: Iterable[str]) -> bool:
    from ipaddress import IPv4Address, IPv4Network

    return any(IPv4Address(ip) in IPv4Network(network) for network in networks)


class _OnePort:
    """One port of a Service, and the names of its chains."""

    def __init__(self, service: ServiceInfo, port: Port, proxy: Proxy) -> None:
        self._service, self._port, self._proxy = service, port, proxy
        self._protocol = port.protocol.lower()
        self._whole = f"{service.namespace}/{service.name}/{self._protocol}/{port.name}"
        self._base = nft_name(self._whole)
        self._choice: UsableEndpoints = choose(service, port, proxy)
        cluster, local = f"service-{self._base}", f"local-{self._base}"
        self._internal = local if service.internal_local else cluster
        self._external = local if service.external_local else cluster

    def items(self) -> Iterator[tuple[Item, Body]]:
        """Sets, chains and elements; chains after those that they jump to."""
        for end in self._choice.reachable:
            yield from self._endpoint(end)
        for name, ends in (
            (f"service-{self._base}", self._choice.cluster),
            (f"local-{self._base}", self._choice.local),
        ):
            if ends:
                yield ("nft-chain", TABLE, name), ("", *self._from_outside(name), *self._balance(ends))
        if self._choice.somewhere and externally_accessible(self._service, self._port):
            yield ("nft-chain", TABLE, f"external-{self._base}"), ("", *self._external_rules())
        if self._firewalled:
            yield ("nft-chain", TABLE, f"firewall-{self._base}"), ("", self._source_ranges())
        yield from self._cluster_ip()
        yield from self._addresses()
        yield from self._node_port()

    @property
    def _firewalled(self) -> bool:
        return bool(self._service.load_balancer_ips and self._service.source_ranges)

    def _end(self, end: Endpoint) -> str:
        return nft_name(f"{self._whole}__{end.ip}/{end.port}")

    def _endpoint(self, end: Endpoint) -> Iterator[tuple[Item, Body]]:
        base, affinity = self._end(end), self._service.affinity
        if affinity:
            spec = f"type ipv4_addr ; flags dynamic,timeout ; timeout {affinity}s ;"
            yield ("nft-set", TABLE, f"affinity-{base}"), (spec,)
        yield (
            ("nft-chain", TABLE, f"endpoint-{base}"),
            (
                "",
                # A pod that connects to itself through its Service must not see its own address as the source.
                f"ip saddr {end.ip} jump mark-for-masquerade",
                *((f"update @affinity-{base} {{ ip saddr }}",) if affinity else ()),
                f"meta l4proto {self._protocol} dnat to {end.ip}:{end.port}",
            ),
        )

    def _from_outside(self, chain: str) -> Iterator[str]:
        """Masquerades traffic from outside the pods: its reply must return through the node where it arrived."""
        if chain == self._internal:
            to = f"ip daddr {self._service.cluster_ip}"
            if self._proxy.masquerade_all:
                yield f"{to} jump mark-for-masquerade"
            elif self._proxy.cluster_cidr:
                yield f"{to} ip saddr != {self._proxy.cluster_cidr} jump mark-for-masquerade"

    def _balance(self, ends: Sequence[Endpoint]) -> Iterator[str]:
        names = [self._end(end) for end in ends]
        if self._service.affinity:
            yield from (f"ip saddr @affinity-{name} goto endpoint-{name}" for name in names)
        choices = " , ".join(f"{index} : goto endpoint-{name}" for index, name in enumerate(names))
        yield f"numgen random mod {len(names)} vmap {{ {choices} }}"

    def _external_rules(self) -> Iterator[str]:
        if not self._service.external_local:
            yield "jump mark-for-masquerade"
            yield f"goto {self._external}"
            return
        cluster = f"service-{self._base}"
        if self._proxy.cluster_cidr:
            yield f'ip saddr {self._proxy.cluster_cidr} goto {cluster} comment "short-circuit pod traffic"'
        yield 'fib saddr type local jump mark-for-masquerade comment "masquerade local traffic"'
        yield f'fib saddr type local goto {cluster} comment "short-circuit local traffic"'
        if self._choice.local:
            yield f"goto {self._external}"

    def _source_ranges(self) -> str:
        sources = [*self._service.source_ranges]
        if any(_within(ip, sources) for ip in self._proxy.addresses[:1]):
            # If the node has the load balancer's address itself, it is the source of the node's own packets.
            sources += self._service.load_balancer_ips
        return f"ip saddr != {{ {' , '.join(dict.fromkeys(sources))} }} drop"

    def _verdict(self, local: bool) -> str:
        """The verdict for packets without a usable endpoint; "" if there is one."""
        if not self._choice.somewhere:
            return "goto reject-chain"
        return "drop" if local and not self._choice.local else ""

    def _cluster_ip(self) -> Iterator[tuple[Item, Body]]:
        ip, verdict = self._service.cluster_ip, self._verdict(self._service.internal_local)
        yield ("nft-element", TABLE, "cluster-ips", ip), ("", "")
        if verdict:
            yield self._nobody("no-endpoint-services", self._at(ip), verdict)
        else:
            yield ("nft-element", TABLE, "service-ips", self._at(ip)), ("", f"goto {self._internal}")

    def _addresses(self) -> Iterator[tuple[Item, Body]]:
        verdict = self._verdict(self._service.external_local)
        for ip in (*self._service.external_ips, *self._service.load_balancer_ips):
            if self._choice.somewhere:
                yield ("nft-element", TABLE, "service-ips", self._at(ip)), ("", f"goto external-{self._base}")
            if verdict:
                yield self._nobody("no-endpoint-services", self._at(ip), verdict)
        if self._firewalled:
            for ip in self._service.load_balancer_ips:
                yield ("nft-element", TABLE, "firewall-ips", self._at(ip)), ("", f"goto firewall-{self._base}")

    def _node_port(self) -> Iterator[tuple[Item, Body]]:
        if self._port.node_port:
            key, verdict = f"{self._protocol} . {self._port.node_port}", self._verdict(self._service.external_local)
            if self._choice.somewhere:
                yield ("nft-element", TABLE, "service-nodeports", key), ("", f"goto external-{self._base}")
            if verdict:
                yield self._nobody("no-endpoint-nodeports", key, verdict)

    def _at(self, ip: str) -> str:
        return f"{ip} . {self._protocol} . {self._port.port}"

    def _nobody(self, name: str, key: str, verdict: str) -> tuple[Item, Body]:
        return ("nft-element", TABLE, name, key), (port_name(self._service, self._port)[:LONGEST_COMMENT], verdict)


def commands(old: Items, new: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
    """One transaction of `nft -f` with all differences; empty if there are none."""
    text = nft_text(TABLE, old, new, _sets(), narrows=proxy.nft_narrows)
    return (NodeCommand(("nft", "-f", "-"), text),) if text else ()
