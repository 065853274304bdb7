"""The ipsets of ipvs mode, and the rules that match them: their number does not depend on the number of Services."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.proxy.iptables import MARK_MASQ, postrouting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nslab.proxy.model import Proxy

LOOP_BACK, CLUSTER_IP = "KUBE-LOOP-BACK", "KUBE-CLUSTER-IP"
EXTERNAL_IP, EXTERNAL_IP_LOCAL = "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL"
LOAD_BALANCER, LOAD_BALANCER_LOCAL = "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL"
LOAD_BALANCER_FW = "KUBE-LOAD-BALANCER-FW"
SOURCE_IP, SOURCE_CIDR = "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR"
HEALTH_CHECK, IPVS_IPS = "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS"
NODE_PORT = {
    "tcp": ("KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-LOCAL-TCP"),
    "udp": ("KUBE-NODE-PORT-UDP", "KUBE-NODE-PORT-LOCAL-UDP"),
    "sctp": ("KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-LOCAL-SCTP-HASH"),
}
"""All node ports of a protocol, and those of policy Local."""


class Set(NamedTuple):
    """An ipset: its type, and kube-proxy's comment on rules that match it."""

    type: str
    about: str

    @property
    def options(self) -> str:
        """The options after the type in `ipset create`."""
        return _BITMAP_OPTIONS if self.type == "bitmap:port" else _HASH_OPTIONS


SETS = {
    LOOP_BACK: Set("hash:ip,port,ip", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"),
    CLUSTER_IP: Set("hash:ip,port", "Kubernetes service cluster ip + port for masquerade purpose"),
    EXTERNAL_IP: Set("hash:ip,port", "Kubernetes service external ip + port for masquerade and filter purpose"),
    EXTERNAL_IP_LOCAL: Set("hash:ip,port", "Kubernetes service external ip + port with externalTrafficPolicy=local"),
    LOAD_BALANCER: Set("hash:ip,port", "Kubernetes service lb portal"),
    LOAD_BALANCER_FW: Set(
        "hash:ip,port", "Kubernetes service load balancer ip + port for load balancer with sourceRange"
    ),
    LOAD_BALANCER_LOCAL: Set(
        "hash:ip,port", "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"
    ),
    SOURCE_IP: Set(
        "hash:ip,port,ip", "Kubernetes service load balancer ip + port + source IP for packet filter purpose"
    ),
    SOURCE_CIDR: Set(
        "hash:ip,port,net", "Kubernetes service load balancer ip + port + source cidr for packet filter purpose"
    ),
    "KUBE-NODE-PORT-TCP": Set("bitmap:port", "Kubernetes nodeport TCP port for masquerade purpose"),
    "KUBE-NODE-PORT-LOCAL-TCP": Set("bitmap:port", "Kubernetes nodeport TCP port with externalTrafficPolicy=local"),
    "KUBE-NODE-PORT-UDP": Set("bitmap:port", "Kubernetes nodeport UDP port for masquerade purpose"),
    "KUBE-NODE-PORT-LOCAL-UDP": Set("bitmap:port", "Kubernetes nodeport UDP port with externalTrafficPolicy=local"),
    # As in the output of iptables-save, which escapes quotes.
    "KUBE-NODE-PORT-SCTP-HASH": Set(
        "hash:ip,port", r"Kubernetes nodeport SCTP port for masquerade purpose with type \'hash ip:port\'"
    ),
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH": Set(
        "hash:ip,port", r"Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type \'hash ip:port\'"
    ),
    HEALTH_CHECK: Set("bitmap:port", "Kubernetes health check node port"),
    IPVS_IPS: Set("hash:ip", "Addresses on the ipvs interface"),
}
"""All sets, in creation order; they exist even if they are empty."""

_BITMAP_OPTIONS, _HASH_OPTIONS = "range 0-65535", "family inet hashsize 1024 maxelem 65536"

JUMPS = (
    ("nat", "OUTPUT", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    ("nat", "PREROUTING", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    ("nat", "POSTROUTING", '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'),
    ("filter", "FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
    ("filter", "INPUT", '-m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT'),
    ("filter", "INPUT", '-m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL'),
    ("filter", "FORWARD", '-m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL'),
    ("filter", "INPUT", '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER'),
    ("filter", "OUTPUT", '-m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER'),
)
"""Each is inserted as the first rule, so a packet meets the last of a chain first."""

_MARK, _ACCEPT, _RETURN = "-j KUBE-MARK-MASQ", "-j ACCEPT", "-j RETURN"
_REPLIES = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
_OFF_MACHINE = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT"
_TO_LOCAL = "-m addrtype --dst-type LOCAL"

Rules = dict[tuple[str, str], tuple[str, ...]]
"""Rules by table and chain."""


def nat_rules(filled: Collection[str], proxy: Proxy) -> Rules:
    """The nat chains (masquerading); rules only for non-empty sets. A chain comes before those that jump to it."""
    return {
        ("nat", "KUBE-MARK-MASQ"): MARK_MASQ[1],
        ("nat", "KUBE-POSTROUTING"): (
            *(f"{_about(name)} dst,dst,src -j MASQUERADE" for name in (LOOP_BACK,) if name in filled),
            *postrouting(proxy),
        ),
        ("nat", "KUBE-NODE-PORT"): tuple(_node_ports(filled)),
        ("nat", "KUBE-LOAD-BALANCER"): (
            *(f"{_about(name)} dst,dst {_RETURN}" for name in (LOAD_BALANCER_LOCAL,) if name in filled),
            _MARK,
        ),
        ("nat", "KUBE-SERVICES"): tuple(_services(filled, proxy)),
    }


def _services(filled: Collection[str], proxy: Proxy) -> Iterator[str]:
    yield f"-s 127.0.0.0/8 {_RETURN}"
    if LOAD_BALANCER in filled:
        yield f"{_about(LOAD_BALANCER)} dst,dst -j KUBE-LOAD-BALANCER"
    if CLUSTER_IP in filled:
        if proxy.masquerade_all:
            yield f"{_about(CLUSTER_IP)} dst,dst {_MARK}"
        elif proxy.cluster_cidr:
            yield f"! -s {proxy.cluster_cidr} {_about(CLUSTER_IP)} dst,dst {_MARK}"
        else:
            # The node's own packets have the Service's address as source: it is on kube-ipvs0.
            yield f"{_about(CLUSTER_IP)} src,dst {_MARK}"
    for name in (EXTERNAL_IP, EXTERNAL_IP_LOCAL):
        if name in filled:
            if name == EXTERNAL_IP:
                yield f"{_about(name)} dst,dst {_MARK}"
            yield f"{_about(name)} dst,dst {_OFF_MACHINE}"
            yield f"{_about(name)} dst,dst {_TO_LOCAL} {_ACCEPT}"
    yield f"{_TO_LOCAL} -j KUBE-NODE-PORT"
    yield from (f"{_in(name)} dst,dst {_ACCEPT}" for name in (CLUSTER_IP, LOAD_BALANCER) if name in filled)


def _node_ports(filled: Collection[str]) -> Iterator[str]:
    for protocol, (every, local) in NODE_PORT.items():
        where = "dst,dst" if protocol == "sctp" else "dst"
        for name, target in ((local, _RETURN), (every, _MARK)):
            if name in filled:
                yield f"-p {protocol} {_about(name)} {where} {target}"


def filter_rules(filled: Collection[str]) -> Rules:
    """The filter chains. IPVS handles a packet in LOCAL_IN, so these rules see it in INPUT."""
    ours = (LOAD_BALANCER, CLUSTER_IP, EXTERNAL_IP, EXTERNAL_IP_LOCAL)
    ranges = (SOURCE_CIDR, SOURCE_IP)
    return {
        ("filter", "KUBE-FORWARD"): (
            f'-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 {_ACCEPT}',
            f'-m comment --comment "kubernetes forwarding conntrack rule" {_REPLIES}',
        ),
        ("filter", "KUBE-NODE-PORT"): (f"{_about(HEALTH_CHECK)} dst {_ACCEPT}",),
        ("filter", "KUBE-SOURCE-RANGES-FIREWALL"): (
            *(f"{_about(name)} dst,dst,src {_RETURN}" for name in ranges if name in filled),
            "-j DROP",
        ),
        ("filter", "KUBE-PROXY-FIREWALL"): tuple(
            f"{_about(name)} dst,dst -j KUBE-SOURCE-RANGES-FIREWALL" for name in (LOAD_BALANCER_FW,) if name in filled
        ),
        # The node's own ports must not be reachable at a Service's address, which the node has on kube-ipvs0.
        ("filter", "KUBE-IPVS-FILTER"): (
            *(f"{_in(name)} dst,dst {_RETURN}" for name in ours),
            f"{_in(HEALTH_CHECK)} dst {_RETURN}",
            f"-m conntrack --ctstate NEW {_in(IPVS_IPS)} dst -j REJECT --reject-with icmp-port-unreachable",
        ),
    }


def _about(name: str) -> str:
    return f'-m comment --comment "{SETS[name].about}" {_in(name)}'


def _in(name: str) -> str:
    return f"-m set --match-set {name}"
