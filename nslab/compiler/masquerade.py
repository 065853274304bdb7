"""natOutgoing: packets that leave the pod network get the node's source address, so that replies find the way back."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from nslab.lab.types import Encapsulation
from nslab.objects import names
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject

_FELIX = "Felix"
_MASQ_POOLS, _ALL_POOLS = "cali40masq-ipam-pools", "cali40all-ipam-pools"
_ALL_HOSTS, _ALL_VXLAN = "cali40all-hosts-net", "cali40all-vxlan-net"
_TUNNELS = {
    Encapsulation.IPIP: "tunl0",
    Encapsulation.IPIP_CROSS_SUBNET: "tunl0",
    Encapsulation.VXLAN: "vxlan.calico",
    Encapsulation.VXLAN_CROSS_SUBNET: "vxlan.calico",
}
_OWN_SOURCE = "-m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL"


def nat_outgoing(lab: Lab, node: Node) -> Iterator[KernelObject]:
    """Masquerades packets from a natOutgoing pool to outside all pools. Pools are ipsets, so the rule never changes."""
    ns = names.netns(lab.name, node.name)
    sets: dict[str, Sequence[IPv4Network | IPv4Address]] = {
        _ALL_POOLS: [lab.networks.pods],
        _MASQ_POOLS: [lab.networks.pods],
        **_tunnel_peers(lab, node),
    }
    for name, members in sets.items():
        yield IpSet(ns, name, "hash:net", by=_FELIX)
        yield from (SetMember(ns, name, str(member), by=_FELIX) for member in members)
    pools = f"-m set --match-set {_MASQ_POOLS} src -m set ! --match-set {_ALL_POOLS} dst"
    # A node's own packet that DNAT rerouted into the tunnel keeps the source of its first interface: masquerade it.
    tunnel = _TUNNELS.get(lab.encapsulation)
    repair = [(f"-o {tunnel}", f"{_OWN_SOURCE} -j MASQUERADE --random-fully")] if tunnel else []
    jumps = [("", "-j cali-fip-snat"), ("", "-j cali-nat-outgoing"), *repair]
    for chain, rules in (
        ("cali-fip-dnat", []),
        ("cali-fip-snat", []),
        ("cali-nat-outgoing", [("", f"{pools} -j MASQUERADE --random-fully")]),
        ("cali-PREROUTING", [("", "-j cali-fip-dnat")]),
        ("cali-OUTPUT", [("", "-j cali-fip-dnat")]),
        ("cali-POSTROUTING", jumps),
    ):
        yield Chain(ns, "nat", chain, signed(chain, rules), by=_FELIX)
    for builtin in ("PREROUTING", "OUTPUT", "POSTROUTING"):
        (rule,) = signed(builtin, [("", f"-j cali-{builtin}")])
        yield Jump(ns, "nat", builtin, rule, by=_FELIX)


def _tunnel_peers(lab: Lab, node: Node) -> dict[str, list[IPv4Address]]:
    """The allowed sources of encapsulated packets: Felix keeps one ipset for each enabled kind of tunnel."""
    match _TUNNELS.get(lab.encapsulation):
        case "tunl0":
            return {_ALL_HOSTS: [other.address for other in lab.nodes]}
        case "vxlan.calico":
            return {_ALL_VXLAN: [other.address for other in lab.nodes if other != node]}
        case _:
            return {}


def signed(chain: str, rules: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The rules with Felix's comments, as `iptables-save` writes them. Each rule is (interface match, rest).

    A comment is `cali:` and 16 characters of a hash over the chain's name and every rule up to this one, so that Felix
    finds the first changed rule at once. The hash covers Felix's own spelling of the rule
    (felix/generictables: long options, and HASH in place of the comment).
    """
    digest = hashlib.sha224(chain.encode()).digest()
    lines = []
    for interface, rest in rules:
        spelt = f"{interface} {rest}".strip().replace("-o ", "--out-interface ").replace("-j ", "--jump ")
        digest = hashlib.sha224(digest + f"-A {chain} HASH {spelt}".encode()).digest()
        comment = base64.urlsafe_b64encode(digest).decode()[:16]
        lines.append(f'{interface} -m comment --comment "cali:{comment}" {rest}'.strip())
    return tuple(lines)
