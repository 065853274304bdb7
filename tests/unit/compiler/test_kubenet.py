"""kubenet-two-node, line by line."""

from __future__ import annotations

import re
from pathlib import Path

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.objects import names
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.script import commands

FILE = Path(__file__).parents[3] / "labs" / "kubenet-two-node" / "lab.yaml"
CABLE = names.kubenet_veth("default", "pod-b")


def lines(machine: str, like: str, host: HostFeatures | None = None) -> list[str]:
    """What is typed for one machine that looks like a pattern, without the namespace."""
    plan = diff((), compile_lab(assign_addresses(load(FILE)), host or HostFeatures()))
    ns = names.netns("kubenet-two-node", machine)
    output = [line for step in plan if step.obj.ns == ns for line in commands(step)]
    short = [line.replace(f" -n {ns}", "").replace(f"ip netns exec {ns} ", "") for line in output]
    return [line for line in short if re.search(like, line)]


def test_a_bridge_with_the_gateways_address() -> None:
    assert lines("node1", "cbr0")[:3] == [
        f"ip link add cbr0 address {names.mac('kubenet-two-node', 'node1', 'cbr0')} mtu 1500 type bridge",
        "ip addr add 20.96.1.1/24 brd + dev cbr0",
        "ip link set cbr0 up",
    ]


def test_a_pod_is_plugged_into_it_and_may_reach_itself() -> None:
    assert re.fullmatch("veth[0-9a-f]{8}", CABLE)
    assert lines("node1", f"{CABLE}( |$)")[1:] == [
        f"ip link set {CABLE} master cbr0",
        f"bridge link set dev {CABLE} hairpin on",
        f"ip link set {CABLE} up",
    ]
    assert lines("pod-b", "^ip (addr|route)|sysctl") == [
        "sysctl -qw net.ipv6.conf.default.dad_transmits=0",
        "ip addr add 20.96.1.3/24 brd + dev eth0",
        "ip route add default via 20.96.1.1 dev eth0",
    ]


def test_one_route_a_node_to_the_pods_of_the_other() -> None:
    assert lines("node1", "route add 20") == ["ip route add 20.96.2.0/24 via 192.168.59.23 dev eth0"]
    assert lines("node2", "route add 20") == ["ip route add 20.96.1.0/24 via 192.168.59.22 dev eth0"]


def test_what_leaves_the_cluster_has_the_nodes_address() -> None:
    comment = '-m comment --comment "kubenet: SNAT for outbound traffic from cluster"'
    rule = f"! -d 20.96.0.0/12 {comment} -m addrtype ! --dst-type LOCAL -j MASQUERADE"
    assert lines("node1", "^iptables .*kubenet") == [f"iptables -t nat -A POSTROUTING {rule}"]


def test_bridged_packets_pass_iptables_where_the_kernel_can() -> None:
    assert lines("node1", "bridge-nf") == ["sysctl -qw net.bridge.bridge-nf-call-iptables=1"]
    assert lines("switch", "bridge-nf") == ["sysctl -qw net.bridge.bridge-nf-call-iptables=0"]
    assert lines("node1", "bridge-nf", HostFeatures(bridge_netfilter=False)) == []
