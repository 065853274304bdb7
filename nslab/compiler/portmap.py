"""hostPort: the rules of the CNI plugin portmap, which stands behind the main plugin (containernetworking/plugins).

A port of the node leads to a pod: DNAT, and a masquerade mark for the pod itself and for the node's loopback.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from nslab.api.pod_types import Protocol
from nslab.compiler.addresses import address_of
from nslab.lab.host_ports import PortsInUse, destination, is_ipv4
from nslab.lab.network_rules import RULES
from nslab.objects import names
from nslab.objects.iptables import Chain, Jump

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.api.pod_types import ContainerPort, Pod
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject

MOST_PORTS = 15
"""The ports that one match of multiport takes."""
PORTMAP = "portmap CNI plugin"
_DNAT, _MARK, _MASQUERADE = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
_LOCAL = f"-m addrtype --dst-type LOCAL -j {_DNAT}"


def host_ports(lab: Lab, node: Node, network: str, masked: int) -> Iterator[KernelObject]:
    """The chains of a node with host ports. `network`: the CNI network's name; `masked`: a pod's prefix length.

    Of two pods that want one port, the first has it.
    """
    ns, owned = names.netns(lab.name, node.name), owners(lab, node)
    if not owned:
        return
    mark = '-m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000'
    yield Chain(ns, "nat", _MARK, (mark,), by=PORTMAP)
    yield Chain(ns, "nat", _MASQUERADE, ("-m mark --mark 0x2000/0x2000 -j MASQUERADE",), by=PORTMAP)
    masquerade = f'-m comment --comment "CNI portfwd requiring masquerade" -j {_MASQUERADE}'
    entries: list[str] = []
    for pod, ports in owned:
        identity = container_id(lab, pod)
        chain = chain_name(network, identity)
        yield Chain(ns, "nat", chain, tuple(_forwarded(pod, ports, masked)), by=PORTMAP)
        entries += _entries(ports, chain, f'-m comment --comment "dnat name: \\"{network}\\" id: \\"{identity}\\""')
    yield Chain(ns, "nat", _DNAT, tuple(entries), by=PORTMAP)
    for builtin in ("PREROUTING", "OUTPUT"):
        yield Jump(ns, "nat", builtin, _LOCAL, "last", by=PORTMAP)
    yield Jump(ns, "nat", "POSTROUTING", masquerade, by=PORTMAP)


def owners(lab: Lab, node: Node) -> list[tuple[Pod, list[ContainerPort]]]:
    """The node's pods with host ports, and the ports that each has; no port has two owners. None has hostNetwork."""
    ports = PortsInUse()
    given = [(pod, ports.take(pod, node.name)) for pod in lab.pods if pod.node == node.name]
    mapped = [(pod, [*filter(is_ipv4, mine)]) for pod, mine in given if not pod.host_network]
    return [(pod, mine) for pod, mine in mapped if mine]


def new_udp_ports(before: Lab, after: Lab) -> list[tuple[str, int]]:
    """The UDP host ports, each with its node's namespace, that lead to pods which had not been there."""
    return sorted((ns, port) for ns, port, _ in _udp_ports(after) - _udp_ports(before))


def _udp_ports(lab: Lab) -> set[tuple[str, int, str]]:
    return {
        (names.netns(lab.name, node.name), port.host_port, container_id(lab, pod))
        for node in lab.nodes
        for pod, ports in owners(lab, node)
        for port in ports
        if port.protocol is Protocol.UDP and RULES[lab.plugin].host_ports
    }


def container_id(lab: Lab, pod: Pod) -> str:
    """The id of a pod's sandbox, of 64 hex digits; random in a real runtime, derived here."""
    return hashlib.sha256(f"{lab.name}/{pod.namespace}/{pod.name}/{pod.uid}".encode()).hexdigest()


def chain_name(network: str, container: str) -> str:
    """`CNI-DN-` and the first 21 hex digits of SHA-512(network's name + container id)."""
    return f"CNI-DN-{hashlib.sha512(f'{network}{container}'.encode()).hexdigest()[:21]}"


def _entries(ports: Sequence[ContainerPort], chain: str, comment: str) -> Iterator[str]:
    for protocol in dict.fromkeys(str(port.protocol).lower() for port in ports):
        numbers = [str(port.host_port) for port in ports if str(port.protocol).lower() == protocol]
        for at in range(0, len(numbers), MOST_PORTS):
            some = ",".join(numbers[at : at + MOST_PORTS])
            yield f"-p {protocol} {comment} -m multiport --dports {some} -j {chain}"


def _forwarded(pod: Pod, ports: Sequence[ContainerPort], masked: int) -> Iterator[str]:
    own = IPv4Network((address_of(pod), masked), strict=False)
    for port in ports:
        protocol = str(port.protocol).lower()
        only = destination(port)
        match = f"{f'-d {only}/32 ' if only else ''}-p {protocol} -m {protocol} --dport {port.host_port}"
        for source in (own, "127.0.0.1/32"):
            yield f"-s {source} {match} -j {_MARK}"
        yield f"{match} -j DNAT --to-destination {address_of(pod)}:{port.port}"
