"""Who wrote a rule or a route of a real node, as far as its name tells: components name their chains alike (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nslab.trace.observed import Match, RouteTaken

_CHAINS: Final = {
    "KUBE-FIREWALL": "kubelet", "KUBE-KUBELET": "kubelet", "KUBE-ROUTER": "kube-router", "KUBE-NWPLCY": "kube-router",
    "KUBE-POD-FW": "kube-router", "KUBE-": "kube-proxy", "cali": "Felix", "FLANNEL": "flannel",
    "CNI-": "CNI plugin portmap", "IP-MASQ": "ip-masq-agent", "DOCKER": "Docker", "CILIUM": "Cilium",
    "OLD_CILIUM": "Cilium", "WEAVE": "Weave Net", "ISTIO": "Istio", "ufw": "ufw", "LIBVIRT": "libvirt",
    "TS-": "Tailscale", "ts-": "Tailscale", "f2b-": "fail2ban", "ANTREA": "Antrea",
}  # fmt: skip
"""Beginnings of chains' names; the first that fits decides."""
_TABLES: Final = {
    "kube-proxy": "kube-proxy", "inet firewalld": "firewalld", "firewalld": "firewalld", "ip firewalld": "firewalld",
    "docker-bridges": "Docker", "inet calico": "Felix", "calico": "Felix",
}  # fmt: skip
_PROTOCOLS: Final = {"kernel": "kernel", "bird": "BIRD", "80": "Felix", "dhcp": "DHCP", "zebra": "FRR", "bgp": "FRR"}


def rule_author(match: Match) -> str:
    """Who wrote a rule: by its table, its chain, or the chain to which it jumps; "" if these do not tell."""
    if known := _TABLES.get(match.table):
        return known
    jumps = (match.target,) if match.verdict in ("jump", "goto") else ()
    found = (by for name in (match.chain, *jumps) for start, by in _CHAINS.items() if name.startswith(start))
    return next(found, "")


def route_author(way: RouteTaken) -> str:
    """Who wrote a route, by its protocol; "" if that does not tell."""
    return "" if way.error else "kernel" if way.kind == "local" else _PROTOCOLS.get(way.protocol, "")
