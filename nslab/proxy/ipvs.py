"""ipvs mode, as in current kube-proxy: the kernel's balancer, with a few iptables rules for all Services.

Every address of a Service is on a dummy interface (kube-ipvs0), so that the kernel delivers its packets locally; IPVS
catches them in LOCAL_IN and forwards them to a real server. The iptables rules (masquerading, filtering) are the same
for all Services: they match ipsets, whose members are Services.

A part's `lines` contain the sets in which it has members, and its rules in shared chains: rules for a set without
members are not written. nslab.ruletext.ipvsadm explains how real servers are removed.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from nslab.proxy import ipsets
from nslab.proxy.choose import choose
from nslab.proxy.mode import Part
from nslab.ruletext.ipset import ended, made
from nslab.ruletext.iptables import iptables_commands, sysctl_commands
from nslab.ruletext.ipvsadm import ipvsadm_lines
from nslab.ruletext.items import NodeCommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
    from nslab.ruletext.items import Body, Item, Items

DEVICE = "kube-ipvs0"
SOURCE_HASH = "mh-port"
"""ipvsadm's name of IP_VS_SVC_F_SCHED2 for the scheduler mh, for which kube-proxy sets it."""
OUT_FILTER: Item = ("chain", "filter", "KUBE-IPVS-OUT-FILTER")


def part(service: ServiceInfo, proxy: Proxy) -> Part:
    """One Service: its virtual and real servers, its addresses, and its members of the sets."""
    if not service.cluster_ip:  # headless or ExternalName
        return Part({})
    own: Items = {}
    drops: list[str] = []
    for port in service.ports:
        own |= _servers(service, port, proxy)
        own |= {("member", name, entry): () for name, entry in _members(service, port, proxy)}
        drops += _kept_from_nodes(service, port, proxy)
    for address in _bound(service, proxy):
        own["address", DEVICE, f"{address}/32"] = ()
        own["member", ipsets.IPVS_IPS, address] = ()
    lines: dict[Item, Body] = {("ipset", item[1]): () for item in own if item[0] == "member"}
    if drops:
        lines[OUT_FILTER] = tuple(drops)
    return Part(own, lines)


def frame(parts: Iterable[Part], proxy: Proxy) -> Items:
    """The items for all Services: sysctls, the interface, all sets, and the rules that match them."""
    filled: set[str] = set()
    drops: dict[str, None] = {}
    for part in parts:
        filled |= {item[1] for item in part.lines if item[0] == "ipset"}
        drops |= dict.fromkeys(part.lines.get(OUT_FILTER, ()))
    items: Items = {("sysctl", path, default): (value,) for path, value, default in _settings(proxy)}
    items["dummy", DEVICE] = ()
    items |= {("ipset", name): (one.type, one.options) for name, one in ipsets.SETS.items()}
    for (table, chain), rules in {**ipsets.nat_rules(filled, proxy), **ipsets.filter_rules(filled)}.items():
        items["chain", table, chain] = rules
    items[OUT_FILTER] = tuple(drops)
    items |= {("jump", *jump, "first"): () for jump in ipsets.JUMPS}
    return items


def _settings(proxy: Proxy) -> Iterator[tuple[str, str, str]]:
    """Path, value and default. (conn_reuse_mode=0 is for kernels before 5.9, and makes connections fail on them.)"""
    # IPVS does its own NAT; only with this sysctl conntrack tracks its connections, so that iptables can masquerade.
    yield "net/ipv4/vs/conntrack", "1", "0"
    # A connection to a removed server expires at its next packet, so that the client can reconnect to another one.
    yield "net/ipv4/vs/expire_nodest_conn", "1", "0"
    # Affinity to a server with weight 0, which accepts no new connections, ends at once.
    yield "net/ipv4/vs/expire_quiescent_template", "1", "0"
    # A node forwards for its pods with or without kube-proxy, so it still does after kube-proxy stops.
    yield "net/ipv4/ip_forward", "1", "1"
    if proxy.strict_arp:
        # Without it, a node answers ARP for every address of kube-ipvs0 on every interface.
        yield "net/ipv4/conf/all/arp_ignore", "1", "0"
        yield "net/ipv4/conf/all/arp_announce", "2", "0"


def _servers(service: ServiceInfo, port: Port, proxy: Proxy) -> Items:
    """The virtual servers of one port, each followed by its real ones."""
    chosen = choose(service, port, proxy)
    protocol = port.protocol.lower()
    # Without a local endpoint, Local falls back to Cluster: clients on this node get replies, others do not.
    near = chosen.local or chosen.cluster
    inside = near if service.internal_local else chosen.cluster
    outside = near if service.external_local else chosen.cluster
    virtual: dict[str, tuple[Endpoint, ...]] = {f"{service.cluster_ip}:{port.port}": inside}
    virtual |= {f"{ip}:{port.port}": outside for ip in (*service.external_ips, *service.load_balancer_ips)}
    if port.node_port:
        virtual |= {f"{ip}:{port.node_port}": outside for ip in _node_addresses(proxy)}
    seconds = str(service.affinity or "")
    body = (proxy.scheduler, seconds, SOURCE_HASH if proxy.scheduler == "mh" else "")
    items: Items = {}
    for where, endpoints in virtual.items():
        # A virtual server without real ones refuses: Linux replies "port unreachable".
        items["virtual", protocol, where] = body
        items |= {("real", protocol, where, f"{end.ip}:{end.port}"): ("1",) for end in endpoints}
    return items


def _members(service: ServiceInfo, port: Port, proxy: Proxy) -> Iterator[tuple[str, str]]:
    """The set members for one port: set and entry."""
    protocol = port.protocol.lower()
    target = f"{protocol}:{port.port}"
    for end in port.endpoints:
        if end.node == proxy.node:
            yield ipsets.LOOP_BACK, f"{end.ip},{protocol}:{end.port},{end.ip}"
    yield ipsets.CLUSTER_IP, f"{service.cluster_ip},{target}"
    external = ipsets.EXTERNAL_IP_LOCAL if service.external_local else ipsets.EXTERNAL_IP
    yield from ((external, f"{ip},{target}") for ip in service.external_ips)
    for ip in service.load_balancer_ips:
        yield ipsets.LOAD_BALANCER, f"{ip},{target}"
        if service.external_local:
            yield ipsets.LOAD_BALANCER_LOCAL, f"{ip},{target}"
        if service.source_ranges:
            yield ipsets.LOAD_BALANCER_FW, f"{ip},{target}"
            yield from ((ipsets.SOURCE_CIDR, f"{ip},{target},{net}") for net in _networks(service.source_ranges))
            if _covers_node(service, proxy):
                yield ipsets.SOURCE_IP, f"{ip},{target},{ip}"
    if port.node_port:
        entries = [str(port.node_port)]
        if protocol == "sctp":  # bitmap:port supports TCP and UDP only
            entries = [f"{ip},sctp:{port.node_port}" for ip in _node_addresses(proxy)]
        for name in ipsets.NODE_PORT[protocol][: 2 if service.external_local else 1]:
            yield from ((name, entry) for entry in entries)
    if service.health_check_node_port:
        yield ipsets.HEALTH_CHECK, str(service.health_check_node_port)


def _kept_from_nodes(service: ServiceInfo, port: Port, proxy: Proxy) -> Iterator[str]:
    """Drops for a node outside the source ranges: its own packets have the load balancer's address as source."""
    if service.source_ranges and not _covers_node(service, proxy):
        number = {"tcp": 6, "udp": 17, "sctp": 132}[port.protocol.lower()]
        for ip in service.load_balancer_ips:
            yield f"-s {ip}/32 -m ipvs --vproto {number} --vaddr {ip} --vport {port.port} -j DROP"


def _bound(service: ServiceInfo, proxy: Proxy) -> list[str]:
    """Addresses for kube-ipvs0: those of the Service that the node does not already have."""
    outside = [ip for ip in (*service.external_ips, *service.load_balancer_ips) if ip not in proxy.addresses]
    return [*dict.fromkeys((service.cluster_ip, *outside))] if service.ports else []


def _node_addresses(proxy: Proxy) -> list[str]:
    """The node's addresses for node ports: all but loopback, or those in --nodeport-addresses."""
    if proxy.node_port_addresses == ("primary",):
        return [*proxy.addresses[:1]]
    wanted = [ip_network(net, strict=False) for net in proxy.node_port_addresses]
    found = ((ip, ip_address(ip)) for ip in proxy.addresses)
    return [ip for ip, it in found if not it.is_loopback and (not wanted or any(it in net for net in wanted))]


def _networks(ranges: Iterable[str]) -> Iterator[str]:
    """Networks as `ipset save` writes them. hash:net cannot contain 0.0.0.0/0, so two halves replace it."""
    for net in (ip_network(one, strict=False) for one in ranges):
        halves = [net] if net.prefixlen else list(net.subnets())
        yield from (str(half).removesuffix("/32") for half in halves)


def _covers_node(service: ServiceInfo, proxy: Proxy) -> bool:
    """Whether the node's own address, its first, is in one of the source ranges."""
    ranges = [ip_network(one, strict=False) for one in service.source_ranges]
    return any(ip_address(ip) in one for ip in proxy.addresses[:1] for one in ranges)


def commands(old: Items, new: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
    """The commands for sets, rules, servers, addresses; removals in reverse order.

    A set exists before rules match it, and is destroyed after none does. A virtual server exists before its address
    and goes after it, so that no packet to the address reaches the node's own sockets.
    """
    removed = [item for item in old if item not in new]
    added = {item: body for item, body in new.items() if item not in old}
    return (
        *sysctl_commands(old, new),
        *_command("\n".join(made(added)), "ipset", "-exist", "restore"),
        *iptables_commands(old, new, proxy.iptables),
        *_command("\n".join(_addresses_go(removed)), "ip", "-batch", "-"),
        *_command("\n".join(ipvsadm_lines(old, new)), "ipvsadm", "-R"),
        *_command("\n".join(_addresses_come(added)), "ip", "-batch", "-"),
        *_command("\n".join(ended(removed)), "ipset", "-exist", "restore"),
    )


def _command(text: str, *argv: str) -> tuple[NodeCommand, ...]:
    """The command with its input; no command without input."""
    return (NodeCommand(argv, f"{text}\n"),) if text else ()


def _addresses_come(items: Iterable[Item]) -> Iterator[str]:
    items = list(items)
    yield from (f"link add {item[1]} type dummy" for item in items if item[0] == "dummy")
    yield from (f"address add {item[2]} dev {item[1]}" for item in items if item[0] == "address")


def _addresses_go(items: Iterable[Item]) -> Iterator[str]:
    items = list(items)
    devices = [item[1] for item in items if item[0] == "dummy"]
    yield from (f"link del {name}" for name in devices)  # its addresses go with the interface
    yield from (
        f"address del {item[2]} dev {item[1]}" for item in items if item[0] == "address" and item[1] not in devices
    )
