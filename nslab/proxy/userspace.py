"""userspace mode, as in kube-proxy until 1.25 (this is 1.23): rules lead to a port of this node's proxy process.

The proxy (components/kubeproxy) listens on one port of the node for each port of a Service, and connects to an endpoint
itself. So the rules contain no endpoints, and a server always sees the node's address.

In kube-proxy the kernel chooses those ports. Here they are derived, so that `plan`, `up` and the process agree: a hash
of the name, and the next free port in case of a collision. Only `frame`, which knows all Services, sees collisions;
the rules of `part` contain the placeholder `PROXY_PORT`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from nslab.proxy.mode import Part
from nslab.proxy.names import port_name
from nslab.ruletext.iptables import iptables_commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.proxy.model import Port, Proxy, ServiceInfo
    from nslab.ruletext.items import Items, NodeCommand

FIRST, LAST = 20000, 29999
"""Proxy ports: below the node ports (30000-32767) and the kernel's ephemeral ports (32768-60999)."""
PROXY_PORT = "PROXYPORT"

_CHAINS = {
    "KUBE-NODEPORT-NON-LOCAL": "filter",
    "KUBE-PORTALS-CONTAINER": "nat",
    "KUBE-NODEPORT-CONTAINER": "nat",
    "KUBE-PORTALS-HOST": "nat",
    "KUBE-NODEPORT-HOST": "nat",
}
_PORTALS = '-m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules"'
_NODE_PORTS = (
    "-m addrtype --dst-type LOCAL "
    '-m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain"'
)
_NON_LOCAL = '-m comment --comment "Ensure that non-local NodePort traffic can flow"'
_JUMPS = (
    ("filter", "INPUT", f"{_NON_LOCAL} -j KUBE-NODEPORT-NON-LOCAL", "first"),
    ("nat", "PREROUTING", f"{_PORTALS} -j KUBE-PORTALS-CONTAINER", "first"),
    ("nat", "OUTPUT", f"{_PORTALS} -j KUBE-PORTALS-HOST", "first"),
    ("nat", "PREROUTING", f"{_NODE_PORTS} -j KUBE-NODEPORT-CONTAINER", "last"),
    ("nat", "OUTPUT", f"{_NODE_PORTS} -j KUBE-NODEPORT-HOST", "last"),
)


def part(service: ServiceInfo, proxy: Proxy) -> Part:
    """The rules of one Service, all in shared chains; each line begins with its chain's name."""
    lines: Items = {
        ("proxy-port", port_name(service, port), port.protocol.lower()): tuple(_rules(service, port, proxy))
        for port in proxied(service)
    }
    return Part({}, lines)


def frame(parts: Iterable[Part], proxy: Proxy) -> Items:  # noqa: ARG001 - the signature of all modes
    """The jumps, and the five chains with the rules of all Services."""
    lines = {item: body for part in parts for item, body in part.lines.items()}
    ports = proxy_ports((name, protocol) for _, name, protocol in lines)
    rules: dict[str, list[str]] = {chain: [] for chain in _CHAINS}
    for (_, name, protocol), body in lines.items():
        for line in body:
            chain, _, rule = line.partition(" ")
            rules[chain].append(rule.replace(PROXY_PORT, str(ports[name, protocol])))
    items: Items = {("chain", _CHAINS[chain], chain): tuple(body) for chain, body in rules.items()}
    return items | {("jump", *jump): () for jump in _JUMPS}


def commands(old: Items, new: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
    """One iptables-restore: the shared chains that changed, each with all of its rules."""
    return iptables_commands(old, new, proxy.iptables)


def proxied(service: ServiceInfo) -> Iterator[Port]:
    """The ports that the proxy process serves: it supports neither SCTP nor Services without an address."""
    if service.cluster_ip:
        yield from (port for port in service.ports if port.protocol != "SCTP")


def proxy_port(name: str, protocol: str) -> int:
    """The proxy's port for a Service's port, before collisions are resolved."""
    digest = sha256(f"{name}/{protocol}".encode()).digest()
    return FIRST + int.from_bytes(digest[:4], "big") % (LAST - FIRST + 1)


def proxy_ports(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """A port for every (`port_name`, lower-case protocol): in the order of the names, each takes the next free one.

    TCP and UDP do not collide. A new Service may shift another one's port; that cuts no connection: a listener
    closes, and its accepted connections go on.
    """
    taken: dict[tuple[str, int], tuple[str, str]] = {}
    for name, protocol in sorted(names):
        port = proxy_port(name, protocol)
        for _ in range(FIRST, LAST + 1):
            if (protocol, port) not in taken:
                taken[protocol, port] = (name, protocol)
                break
            port = port + 1 if port < LAST else FIRST
        else:
            raise OverflowError(f"userspace mode supports at most {LAST - FIRST + 1} ports of Services")
    return {whose: port for (_, port), whose in taken.items()}


def _rules(service: ServiceInfo, port: Port, proxy: Proxy) -> Iterator[str]:
    protocol = port.protocol.lower()
    match = f'-p {protocol} -m comment --comment "{port_name(service, port)}" -m {protocol} --dport'
    # Pods' packets traverse PREROUTING, the node's own OUTPUT, where REDIRECT goes to 127.0.0.1.
    inside, host = _to_proxy(proxy), f"-j DNAT --to-destination {proxy.addresses[0]}:{PROXY_PORT}"
    for address in (service.cluster_ip, *service.external_ips, *service.load_balancer_ips):
        at = f"-d {address}/32 {match} {port.port}"
        if address not in service.external_ips:
            yield f"KUBE-PORTALS-CONTAINER {at} {inside}"
            yield f"KUBE-PORTALS-HOST {at} {host}"
        else:
            yield f"KUBE-PORTALS-CONTAINER {at} -m physdev ! --physdev-is-in {inside}"
            yield f"KUBE-PORTALS-CONTAINER {at} -m addrtype --dst-type LOCAL {inside}"
            yield f"KUBE-PORTALS-HOST {at} -m addrtype --dst-type LOCAL {host}"
    if port.node_port:
        yield f"KUBE-NODEPORT-CONTAINER {match} {port.node_port} {inside}"
        yield f"KUBE-NODEPORT-HOST {match} {port.node_port} {host}"
        # INPUT sees the packet after NAT, so the rule accepts the proxy's port.
        yield f"KUBE-NODEPORT-NON-LOCAL {match} {PROXY_PORT} -m state --state NEW -j ACCEPT"


def _to_proxy(proxy: Proxy) -> str:
    """The target for the proxy's port. REDIRECT goes to the first address of the incoming interface.

    Calico's `cali…` have no address, and the kernel drops packets that it should redirect there: such a node's
    kube-proxy listens only on the node's address (`--bind-address`), and the rule DNATs to it.
    """
    if proxy.bind:
        return f"-j DNAT --to-destination {proxy.bind}:{PROXY_PORT}"
    return f"-j REDIRECT --to-ports {PROXY_PORT}"
