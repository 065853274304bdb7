"""The chains that Felix keeps on each node, with policies or without, in raw, mangle, nat and filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import endpoint_marks, names
from nslab.policy.release import ACCEPT as ACCEPT_BIT
from nslab.policy.release import PASS, node_release
from nslab.policy.rule import (
    ACCEPT,
    DROP,
    RETURN,
    FelixRule,
    came_by,
    clear_bits,
    destination,
    goto,
    has,
    in_set,
    jump,
    lacks,
    leaves_by,
    match,
    not_in_set,
    ports,
    protocol,
    set_bits,
    state,
)
from nslab.policy.workload import VXLAN_PORT, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.policy.model import FelixNode
    from nslab.policy.release import Release

IPIP, VXLAN = "tunl0", "vxlan.calico"
"""The devices of the encapsulations."""
ALL_HOSTS, ALL_VXLAN, MASQUERADED, THIS_HOST = (
    names.ipset(set_id) for set_id in ("all-hosts-net", "all-vxlan-net", "masq-ipam-pools", "this-host")
)
FIRST = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "POSTROUTING"),
    "nat": ("PREROUTING", "OUTPUT"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The built-in chains whose first rule leads to a chain of Felix."""
HOST_ENDPOINT_ACCEPTED = "Host endpoint policy accepted packet."
_UDP_4789 = match(f"--dport {VXLAN_PORT}", f"-m udp --dport {VXLAN_PORT}", f"udp dport {VXLAN_PORT}")
_NOTRACK = match("--jump NOTRACK", "-j CT --notrack", "notrack")
_MASQUERADE = jump("MASQUERADE --random-fully")
_TO_LOCAL, _FROM_LOCAL = (
    match(text, text, nft)
    for text, nft in (
        ("-m addrtype --dst-type LOCAL", "fib daddr type local"),
        ("-m addrtype --src-type LOCAL", "fib saddr type local"),
    )
)
_NOT_OF_TUNNEL = "-m addrtype ! --src-type LOCAL --limit-iface-out"
_NOT_TRANSLATED = "-m conntrack ! --ctstate DNAT"
_ACCEPTED = has(ACCEPT_BIT)
_ACCEPT_MARKED = FelixRule((_ACCEPTED,), ACCEPT)
_BY_HOST_ENDPOINT = FelixRule((_ACCEPTED,), ACCEPT, HOST_ENDPOINT_ACCEPTED)


def inserted() -> Iterator[tuple[str, str, list[FelixRule]]]:
    """Tables, built-in chains, and the rules at the beginning of these."""
    for table, chains in FIRST.items():
        yield from ((table, chain, [FelixRule((), jump(f"cali-{chain}"))]) for chain in chains)


def appended() -> Iterator[tuple[str, str, list[FelixRule]]]:
    """The same for their ends."""
    # Last, so that kube-proxy clears its mark before a MASQUERADE ends the walk.
    yield "nat", "POSTROUTING", [FelixRule((), jump("cali-POSTROUTING"))]
    accepted = FelixRule((_ACCEPTED,), ACCEPT, "Policy explicitly accepted packet.")
    yield "filter", "FORWARD", [accepted, FelixRule((), set_bits(ACCEPT_BIT))]


def chains(node: FelixNode) -> Iterator[tuple[str, str, list[FelixRule]]]:
    """Tables, names and rules of the chains."""
    release = node_release(node)
    for table in ("raw", "mangle", "filter"):
        yield from ((table, f"cali-{way}-host-endpoint", []) for way in ("from", "to"))
    yield "raw", "cali-rpf-skip", []
    yield "raw", "cali-PREROUTING", [*_raw_prerouting(node, release)]
    yield "raw", "cali-OUTPUT", [*_raw_output(node, release)]
    yield "mangle", "cali-PREROUTING", [*_mangle_prerouting()]
    yield "mangle", "cali-POSTROUTING", [*_mangle_postrouting(release)]
    yield from (("nat", f"cali-fip-{kind}", []) for kind in ("dnat", "snat"))
    yield "nat", "cali-nat-outgoing", [_nat_outgoing(release)]
    yield from (("nat", f"cali-{chain}", [FelixRule((), jump("cali-fip-dnat"))]) for chain in ("PREROUTING", "OUTPUT"))
    yield "nat", "cali-POSTROUTING", [*_nat_postrouting(node)]
    yield from (("filter", f"cali-{name}", []) for name in ("from-hep-forward", "to-hep-forward"))
    # Routers send these nodes what no Service took, which would leave by the default route and come back.
    yield "filter", "cali-cidr-block", [FelixRule((destination(cidr),), DROP) for cidr in node.announced]
    yield "filter", "cali-wl-to-host", [*_to_host()]
    yield "filter", "cali-FORWARD", [*_forward(release)]
    yield "filter", "cali-INPUT", [*_input(node, release)]
    yield "filter", "cali-OUTPUT", [*_output(node, release)]


def _raw_prerouting(node: FelixNode, release: Release) -> Iterator[FelixRule]:
    """A pod's packet must come from the interface to which the route to its source leads."""
    yield FelixRule((), clear_bits(release.all_bits))
    yield from _untracked(node)
    yield FelixRule((came_by(WORKLOADS),), set_bits(release.scratch))
    yield FelixRule((has(release.scratch),), jump("cali-rpf-skip"))
    rpfilter = match(
        "-m rpfilter --invert --validmark", "-m rpfilter --validmark --invert", "fib saddr . mark . iif oif 0"
    )
    yield FelixRule((has(release.scratch), rpfilter), DROP)
    yield FelixRule((lacks(release.scratch),), jump("cali-from-host-endpoint"))
    yield _ACCEPT_MARKED


def _raw_output(node: FelixNode, release: Release) -> Iterator[FelixRule]:
    yield FelixRule((), clear_bits(release.all_bits))
    yield FelixRule((), jump("cali-to-host-endpoint"))
    yield from _untracked(node)
    yield _ACCEPT_MARKED


def _untracked(node: FelixNode) -> Iterator[FelixRule]:
    """conntrack need not know packets between tunnels' ends."""
    if node.tunnel == VXLAN:
        yield FelixRule((protocol("udp"), _UDP_4789), _NOTRACK)


def _mangle_prerouting() -> Iterator[FelixRule]:
    yield FelixRule((state("RELATED,ESTABLISHED"),), ACCEPT)
    yield _ACCEPT_MARKED
    yield FelixRule((), jump("cali-from-host-endpoint"))
    yield _BY_HOST_ENDPOINT


def _mangle_postrouting(release: Release) -> Iterator[FelixRule]:
    yield FelixRule((_ACCEPTED,), RETURN)
    yield FelixRule((), clear_bits(release.all_bits))
    yield FelixRule((state("DNAT"),), jump("cali-to-host-endpoint"))
    yield FelixRule((_ACCEPTED,), RETURN, HOST_ENDPOINT_ACCEPTED)


def _nat_outgoing(release: Release) -> FelixRule:
    """Packets from a pool to outside all pools leave with the node's address."""
    return FelixRule((in_set(MASQUERADED, "src"), not_in_set(names.ipset(release.pools), "dst")), _MASQUERADE)


def _nat_postrouting(node: FelixNode) -> Iterator[FelixRule]:
    yield FelixRule((), jump("cali-fip-snat"))
    yield FelixRule((), jump("cali-nat-outgoing"))
    if node.tunnel:
        # A node's own packet that DNAT rerouted into the tunnel keeps the source of its first interface.
        not_of_tunnel = match(_NOT_OF_TUNNEL, _NOT_OF_TUNNEL, "fib saddr . oif type != local")
        yield FelixRule((leaves_by(node.tunnel), not_of_tunnel, _FROM_LOCAL), _MASQUERADE)


def _to_host() -> Iterator[FelixRule]:
    """From a pod to its node: the pod's egress policies decide, then nothing else."""
    yield FelixRule((), jump("cali-from-wl-dispatch"))
    yield FelixRule((), ACCEPT, "Configured DefaultEndpointToHostAction")


def _forward(release: Release) -> Iterator[FelixRule]:
    yield FelixRule((), clear_bits(PASS | release.scratch | release.block))
    yield FelixRule((lacks(ACCEPT_BIT),), jump("cali-from-hep-forward"))
    yield FelixRule((came_by(WORKLOADS),), jump("cali-from-wl-dispatch"))
    yield FelixRule((leaves_by(WORKLOADS),), jump("cali-to-wl-dispatch"))
    yield FelixRule((), jump("cali-to-hep-forward"))
    yield FelixRule((), jump("cali-cidr-block"))


def _input(node: FelixNode, release: Release) -> Iterator[FelixRule]:
    """Encapsulated packets come from nodes alone."""
    if node.tunnel == IPIP:
        ipip = protocol("4")
        yield FelixRule((ipip, in_set(ALL_HOSTS, "src"), _TO_LOCAL), ACCEPT, "Allow IPIP packets from Calico hosts")
        yield FelixRule((ipip,), DROP, "Drop IPIP packets from non-Calico hosts")
    elif node.tunnel == VXLAN:
        vxlan, own = (protocol("17"), ports(VXLAN_PORT)), in_set(ALL_VXLAN, "src")
        yield FelixRule((*vxlan, own, _TO_LOCAL), ACCEPT, "Allow IPv4 VXLAN packets from allowed hosts")
        yield FelixRule((*vxlan, _TO_LOCAL), DROP, "Drop IPv4 VXLAN packets from non-allowed hosts")
    if node.ipvs:
        yield from endpoint_marks.on_input(release)
    yield FelixRule((came_by(WORKLOADS),), goto("cali-wl-to-host"))
    yield _ACCEPT_MARKED
    yield FelixRule((), clear_bits(release.all_bits))
    yield FelixRule((), jump("cali-from-host-endpoint"))
    yield _BY_HOST_ENDPOINT


def _output(node: FelixNode, release: Release) -> Iterator[FelixRule]:
    """A node reaches its own pods, whatever their policies say: kubelet must probe them."""
    yield _ACCEPT_MARKED
    if node.ipvs:
        yield endpoint_marks.on_output(release)
    yield FelixRule((leaves_by(WORKLOADS),), RETURN)
    if node.tunnel == IPIP:
        ipip = (protocol("4"), in_set(ALL_HOSTS, "dst"), _FROM_LOCAL)
        yield FelixRule(ipip, ACCEPT, "Allow IPIP packets to other Calico hosts")
    elif node.tunnel == VXLAN:
        vxlan = (protocol("17"), ports(VXLAN_PORT), _FROM_LOCAL, in_set(ALL_VXLAN, "dst"))
        yield FelixRule(vxlan, ACCEPT, "Allow IPv4 VXLAN packets to other allowed hosts")
    yield FelixRule((), clear_bits(release.all_bits))
    yield FelixRule((match(_NOT_TRANSLATED, _NOT_TRANSLATED, "ct status != dnat"),), jump("cali-to-host-endpoint"))
    yield _BY_HOST_ENDPOINT
