"""ipvs mode, as kube-proxy has it now: the kernel's balancer does the work, and a few rules for all Services help it.

Every address of a Service is given to an interface that leads nowhere (kube-ipvs0), so that its packets are taken for
the node's own; IPVS catches them on their way in and sends them on to a real server. What is left for iptables (whom
to masquerade, whom to let in) is the same for all Services: the rules name sets, and Services are members of these.

A part's `lines` name the sets in which it has members, beside what it adds to shared chains: rules for a set in which
nobody has a member are not written. How real servers leave is told in nslab.ruletext.ipvsadm.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from nslab.proxy import ipsets
from nslab.proxy.choose import choose
from nslab.proxy.mode import Part
from nslab.ruletext.iptables import iptables_commands, sysctl_commands
from nslab.ruletext.ipvsadm import ipvsadm_lines
from nslab.ruletext.items import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.proxy.model import Endpoint, Port, Proxy, Service
    from nslab.ruletext.items import Body, Item, Items

DEVICE = "kube-ipvs0"
SOURCE_HASH = "mh-port"
"""IP_VS_SVC_F_SCHED2, which kube-proxy sets for the scheduler mh; ipvsadm's name for it there."""
OUT_FILTER: Item = ("chain", "filter", "KUBE-IPVS-OUT-FILTER")


def part(service: Service, proxy: Proxy) -> Part:
    """One Service: its virtual and real servers, its addresses, and its members of the sets."""
    if not service.cluster_ip:  # headless, or a name for something outside
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
    """What is there whoever is served: settings, the interface, all sets, and the rules that name them."""
    filled: set[str] = set()
    drops: dict[str, None] = {}
    for one in parts:
        filled |= {item[1] for item in one.lines if item[0] == "ipset"}
        drops |= dict.fromkeys(one.lines.get(OUT_FILTER, ()))
    items: Items = {("sysctl", path, default): (value,) for path, value, default in _settings(proxy)}
    items["dummy", DEVICE] = ()
    items |= {("ipset", name): (one.type, one.options) for name, one in ipsets.SETS.items()}
    for (table, chain), rules in {**ipsets.nat_rules(filled, proxy), **ipsets.filter_rules(filled)}.items():
        items["chain", table, chain] = rules
    items[OUT_FILTER] = tuple(drops)
    items |= {("jump", *jump, "first"): () for jump in ipsets.JUMPS}
    return items


def _settings(proxy: Proxy) -> Iterator[tuple[str, str, str]]:
    """Path, value and default. (conn_reuse_mode=0 is for kernels before 5.9, and makes new connections fail on old.)"""
    # IPVS does the translation itself; only with this does conntrack know of it, so that it can be masqueraded.
    yield "net/ipv4/vs/conntrack", "1", "0"
    # A connection whose server has gone is forgotten at its next packet, and may begin anew elsewhere.
    yield "net/ipv4/vs/expire_nodest_conn", "1", "0"
    # Affinity to a server that takes nothing new (weight 0) ends at once.
    yield "net/ipv4/vs/expire_quiescent_template", "1", "0"
    # A node forwards for its pods with or without a kube-proxy: it goes on when this one stops.
    yield "net/ipv4/ip_forward", "1", "1"
    if proxy.strict_arp:
        # Without it, a node answers for every address of kube-ipvs0 when it is asked on any wire.
        yield "net/ipv4/conf/all/arp_ignore", "1", "0"
        yield "net/ipv4/conf/all/arp_announce", "2", "0"


def _servers(service: Service, port: Port, proxy: Proxy) -> Items:
    """The virtual servers of one port, each followed by its real ones."""
    chosen = choose(service, port, proxy)
    protocol = port.protocol.lower()
    # Where no endpoint is near, Local is given up: replies to pods here find their way, others get lost.
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
        # A virtual server without real ones refuses: Linux answers "port unreachable".
        items["virtual", protocol, where] = body
        items |= {("real", protocol, where, f"{end.ip}:{end.port}"): ("1",) for end in endpoints}
    return items


def _members(service: Service, port: Port, proxy: Proxy) -> Iterator[tuple[str, str]]:
    """Set and entry, for one port."""
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
        if protocol == "sctp":  # a bitmap of ports knows TCP and UDP only
            entries = [f"{ip},sctp:{port.node_port}" for ip in _node_addresses(proxy)]
        for name in ipsets.NODE_PORT[protocol][: 2 if service.external_local else 1]:
            yield from ((name, entry) for entry in entries)
    if service.health_check_node_port:
        yield ipsets.HEALTH_CHECK, str(service.health_check_node_port)


def _kept_from_nodes(service: Service, port: Port, proxy: Proxy) -> Iterator[str]:
    """A node that is in none of the source ranges may not ask either: its packets bear the address itself as source."""
    if service.source_ranges and not _covers_node(service, proxy):
        number = {"tcp": 6, "udp": 17, "sctp": 132}[port.protocol.lower()]
        for ip in service.load_balancer_ips:
            yield f"-s {ip}/32 -m ipvs --vproto {number} --vaddr {ip} --vport {port.port} -j DROP"


def _bound(service: Service, proxy: Proxy) -> list[str]:
    """Addresses for kube-ipvs0: those of the Service that the node does not have already."""
    outside = [ip for ip in (*service.external_ips, *service.load_balancer_ips) if ip not in proxy.addresses]
    return [*dict.fromkeys((service.cluster_ip, *outside))] if service.ports else []


def _node_addresses(proxy: Proxy) -> list[str]:
    """The node's addresses that answer for node ports: all but loopback, or those in --nodeport-addresses."""
    if proxy.node_port_addresses == ("primary",):
        return [*proxy.addresses[:1]]
    wanted = [ip_network(net, strict=False) for net in proxy.node_port_addresses]
    found = ((ip, ip_address(ip)) for ip in proxy.addresses)
    return [ip for ip, it in found if not it.is_loopback and (not wanted or any(it in net for net in wanted))]


def _networks(ranges: Iterable[str]) -> Iterator[str]:
    """As `ipset save` writes them. A set cannot hold 0.0.0.0/0, so its two halves stand for it."""
    for net in (ip_network(one, strict=False) for one in ranges):
        halves = [net] if net.prefixlen else list(net.subnets())
        yield from (str(half).removesuffix("/32") for half in halves)


def _covers_node(service: Service, proxy: Proxy) -> bool:
    """Whether the node's own address, its first, is in one of the source ranges."""
    ranges = [ip_network(one, strict=False) for one in service.source_ranges]
    return any(ip_address(ip) in one for ip in proxy.addresses[:1] for one in ranges)


def commands(old: Items, new: Items, proxy: Proxy) -> tuple[Command, ...]:
    """Sets, rules, servers, addresses; what goes, goes the other way round.

    A set is there before rules name it, and is destroyed when none does. A virtual server is there before its address
    and goes after it, so that nobody meets the bare node in between.
    """
    gone = [item for item in old if item not in new]
    come = {item: body for item, body in new.items() if item not in old}
    return (
        *sysctl_commands(old, new),
        *_command("\n".join(ipsets.made(come)), "ipset", "-exist", "restore"),
        *iptables_commands(old, new, proxy.iptables),
        *_command("\n".join(_addresses_go(gone)), "ip", "-batch", "-"),
        *_command("\n".join(ipvsadm_lines(old, new)), "ipvsadm", "-R"),
        *_command("\n".join(_addresses_come(come)), "ip", "-batch", "-"),
        *_command("\n".join(ipsets.ended(gone)), "ipset", "-exist", "restore"),
    )


def _command(text: str, *argv: str) -> tuple[Command, ...]:
    """Nothing, if there is nothing to say."""
    return (Command(argv, f"{text}\n"),) if text else ()


def _addresses_come(items: Iterable[Item]) -> Iterator[str]:
    items = list(items)
    yield from (f"link add {item[1]} type dummy" for item in items if item[0] == "dummy")
    yield from (f"address add {item[2]} dev {item[1]}" for item in items if item[0] == "address")


def _addresses_go(items: Iterable[Item]) -> Iterator[str]:
    items = list(items)
    devices = [item[1] for item in items if item[0] == "dummy"]
    yield from (f"link del {name}" for name in devices)  # with the interface its addresses go
    yield from (
        f"address del {item[2]} dev {item[1]}" for item in items if item[0] == "address" and item[1] not in devices
    )
