"""calico-two-node, line by line, with the course's addresses; the hashes are those that real nodes show."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.lab.types import Encapsulation, Lab
from nslab.objects import names
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff, transactions
from nslab.objects.script import command, commands
from nslab.trace.rules.from_state import node_rules

FILE = Path(__file__).parents[3] / "labs" / "calico-two-node" / "lab.yaml"
B, D = "cali2f5353dd8c5", "calid6b219bf875"  # the node's ends of pod-b's and pod-d's cables


def lab(encapsulation: str = "IPIP") -> Lab:
    return assign_addresses(replace(load(FILE), encapsulation=Encapsulation(encapsulation)))


def borrowing(encapsulation: str) -> Lab:
    """The lab in which pod-d of node2 has borrowed an address of node1's block."""
    found = lab(encapsulation)
    lent = IPv4Address("20.111.156.40")
    return replace(found, pods=tuple(replace(pod, assigned=lent) if pod.name == "pod-d" else pod for pod in found.pods))


def lines(
    machine: str, like: str, encapsulation: str = "IPIP", host: HostFeatures | None = None, of: Lab | None = None
) -> list[str]:
    """What is typed for one machine that looks like a pattern, without the namespace."""
    plan = diff((), compile_lab(of or lab(encapsulation), host or HostFeatures()))
    ns = names.netns("calico-two-node", machine)
    output = [line for step in plan if step.obj.ns == ns for line in commands(step)]
    short = [line.replace(f" -n {ns}", "").replace(f"ip netns exec {ns} ", "") for line in output]
    return [line for line in short if re.search(like, line)]


def test_a_pod_has_one_address_and_one_way_out() -> None:
    assert lines("pod-b", "^ip (addr|route)") == [
        "ip addr add 20.111.156.7/32 dev eth0",
        "ip route add 169.254.1.1 dev eth0 scope link",
        "ip route add default via 169.254.1.1 dev eth0",
    ]


def test_the_nodes_end_of_a_cable_is_named_by_hash_and_has_the_address_that_all_have() -> None:
    assert names.cali("default", "nginx") == "calic440f455693"
    assert names.cali("namespace", "podname") == "cali82111e10a96"
    (cable,) = lines("node1", f"link add {B} ")
    assert cable.startswith(f"ip link add {B} address ee:ee:ee:ee:ee:ee mtu 1480 type veth peer name eth0 netns nslab.")


def test_the_node_answers_for_everybody() -> None:
    assert lines("node1", f"sysctl.*{B}") == [
        f"sysctl -qw net.ipv4.conf.{B}.route_localnet=1",
        f"sysctl -qw net.ipv4.neigh.{B}.proxy_delay=0",
        f"sysctl -qw net.ipv4.conf.{B}.proxy_arp=1",
        f"sysctl -qw net.ipv4.conf.{B}.forwarding=1",
        f"sysctl -qw net.ipv6.conf.{B}.accept_ra=0",
    ]


def test_the_node_routes() -> None:
    assert lines("node1", "sysctl.*(ip_forward|acct)") == [
        "sysctl -qw net.ipv4.ip_forward=1",
        "sysctl -qw net.netfilter.nf_conntrack_acct=1",
    ]
    assert lines("node1", "nf_conntrack_acct", host=HostFeatures(conntrack=False)) == []


WAYS = {
    "IPIP": ["ip route add 20.109.131.0/26 via 192.168.59.23 dev tunl0 proto bird onlink"],
    "IPIPCrossSubnet": ["ip route add 20.109.131.0/26 via 192.168.59.23 dev eth0 proto bird"],
    "VXLAN": ["ip route add 20.109.131.0/26 via 20.109.131.0 dev vxlan.calico onlink"],
    "VXLANCrossSubnet": ["ip route add 20.109.131.0/26 via 192.168.59.23 dev eth0 proto 80 onlink"],
    "None": ["ip route add 20.109.131.0/26 via 192.168.59.23 dev eth0 proto bird"],
}


@pytest.mark.parametrize("encapsulation", WAYS)
def test_the_way_to_the_other_nodes_block(encapsulation: str) -> None:
    assert lines("node1", "route add 20.109", encapsulation) == WAYS[encapsulation]


@pytest.mark.parametrize("encapsulation", WAYS)
def test_the_way_to_a_borrowed_address(encapsulation: str) -> None:
    """A /32 to the pod's node, also on the node whose block it is of; that block stays its own."""
    lent = borrowing(encapsulation)
    writer = "80" if encapsulation.startswith("VXLAN") else "bird"
    towards_node2 = [line.replace("20.109.131.0/26", "20.111.156.40") for line in WAYS[encapsulation]]
    assert lines("node1", r"route add (blackhole|.*(\.40|/26) )", of=lent) == [
        *WAYS[encapsulation], *towards_node2, f"ip route add blackhole 20.111.156.0/26 proto {writer}"
    ]  # fmt: skip
    assert lines("node2", r"route add .*20\.111\.156\.40", of=lent) == [
        f"ip route add 20.111.156.40 dev {D} scope link"
    ]
    assert lines("node2", "blackhole", of=lent) == [f"ip route add blackhole 20.109.131.0/26 proto {writer}"]


@pytest.mark.parametrize(("encapsulation", "writer"), [("IPIP", "bird"), ("None", "bird"), ("VXLAN", "80")])
def test_what_no_pod_has_ends_here(encapsulation: str, writer: str) -> None:
    assert lines("node1", "blackhole", encapsulation) == [f"ip route add blackhole 20.111.156.0/26 proto {writer}"]


def test_each_pod_has_its_route_and_its_neighbour_entry() -> None:
    routes = ["ip route add 20.109.131.2 dev cali3754a2f57f6 scope link"]
    assert lines("node2", "scope link") == [*routes, f"ip route add 20.109.131.3 dev {D} scope link"]
    mac = names.mac("calico-two-node", "default", "pod-d")
    assert f"ip neigh replace 20.109.131.3 dev {D} lladdr {mac} nud permanent" in lines("node2", "neigh")


def test_the_drivers_tunnel_is_set_not_made() -> None:
    assert lines("node1", "tunl0|tunnel")[:3] == [
        "ip link set tunl0 mtu 1480",
        "ip link set tunl0 up",
        "ip addr add 20.111.156.0/32 dev tunl0",
    ]


def test_without_the_driver_a_process_stands_in() -> None:
    assert lines("node1", "tun", host=HostFeatures(ipip=False))[:6] == [
        "ip tuntap add dev tunl0 mode tun",
        "ip link set tunl0 mtu 1480",
        "sysctl -qw net.ipv6.conf.tunl0.disable_ipv6=1",
        "ip link set tunl0 up",
        "ip addr add 20.111.156.0/32 dev tunl0",
        (
            f"NSLAB='{names.netns('calico-two-node', 'node1')} tunnel' "
            "$PYTHON -P -m nslab.components.ipip.tunnel tunl0 192.168.59.22 &"
        ),
    ]


def test_vxlan_learns_nothing_and_is_told_everything() -> None:
    mine, other = names.vtep_mac("node1"), names.vtep_mac("node2")
    assert other.startswith("66:")
    assert lines("node1", "vxlan.calico( |$)", "VXLAN")[:6] == [
        (f"ip link add vxlan.calico address {mine} mtu 1450 type vxlan id 4096 local 192.168.59.22 dev eth0 "
        "dstport 4789 nolearning"),
        "ip link set vxlan.calico up",
        "ip addr add 20.111.156.0/32 dev vxlan.calico",
        "ip route add 20.109.131.0/26 via 20.109.131.0 dev vxlan.calico onlink",
        f"ip neigh replace 20.109.131.0 dev vxlan.calico lladdr {other} nud permanent",
        f"bridge fdb add {other} dev vxlan.calico dst 192.168.59.23 self permanent",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("encapsulation", "mtu"),
    [("IPIP", 1480), ("IPIPCrossSubnet", 1480), ("VXLAN", 1450), ("VXLANCrossSubnet", 1450), ("None", 1500)],
)
def test_pods_have_the_mtu_of_the_narrowest_tunnel(encapsulation: str, mtu: int) -> None:
    (cable,) = lines("node1", f"link add {B} ", encapsulation)
    assert cable.count(f"mtu {mtu}") == 2


JUMPS = [
    ("filter", "-I INPUT 1", "Cz_u1IQiXIMmKD4c", "INPUT"),
    ("filter", "-I FORWARD 1", "wUHhoiAYhphO9Mso", "FORWARD"),
    ("filter", "-I OUTPUT 1", "tVnHkvAo15HuiPy0", "OUTPUT"),
    ("mangle", "-I PREROUTING 1", "6gwbT8clXdHdC1b1", "PREROUTING"),
    ("mangle", "-I POSTROUTING 1", "O3lYWMrLQYEMJtB5", "POSTROUTING"),
    ("nat", "-I PREROUTING 1", "6gwbT8clXdHdC1b1", "PREROUTING"),
    ("nat", "-I OUTPUT 1", "tVnHkvAo15HuiPy0", "OUTPUT"),
    ("nat", "-A POSTROUTING", "0i8pjzKKPyA34aQD", "POSTROUTING"),
    ("raw", "-I PREROUTING 1", "6gwbT8clXdHdC1b1", "PREROUTING"),
    ("raw", "-I OUTPUT 1", "tVnHkvAo15HuiPy0", "OUTPUT"),
]


def test_the_jumps_are_signed_as_felix_signs_them() -> None:
    assert lines("node1", "iptables -t [a-z]+ -[IA] [A-Z]+ .*-j cali-") == [
        f'iptables -t {table} {where} -m comment --comment "cali:{comment}" -j cali-{chain}'
        for table, where, comment, chain in JUMPS
    ]


def test_felix_comes_before_kube_proxy_except_where_kube_proxy_clears_its_mark() -> None:
    ns = names.netns("calico-two-node", "node1")
    rules = node_rules(obj for obj in compile_lab(lab(), HostFeatures()) if obj.ns == ns)
    targets = {
        (base.chain.table, hook): [base.chain.rule(place).text.rpartition("-j ")[2] for place in range(2)]
        for hook in ("PREROUTING", "POSTROUTING", "FORWARD")
        for base in rules.hook(hook)
        if base.chain.table in ("nat", "filter")
    }
    assert targets == {
        ("nat", "PREROUTING"): ["cali-PREROUTING", "KUBE-SERVICES"],
        ("nat", "POSTROUTING"): ["KUBE-POSTROUTING", "cali-POSTROUTING"],
        ("filter", "FORWARD"): ["cali-FORWARD", "KUBE-PROXY-FIREWALL"],
    }


def test_all_rules_of_a_node_are_one_restore() -> None:
    ns = names.netns("calico-two-node", "node1")
    units = [one for one in transactions(diff((), compile_lab(lab(), HostFeatures()))) if one.where == (ns,)]
    assert [one.unit for one in units if one.unit in ("ipset", "iptables")] == ["ipset", "iptables"]
    (rules,) = (one for one in units if one.unit == "iptables")
    assert {step.obj.by for step in rules.steps} == {"kube-proxy", "Felix"}


MENDED = {"IPIP": ("tunl0", "cali:SXWvdsbh4Mw7wOln"), "VXLAN": ("vxlan.calico", "cali:e9dnSgSVNmIcpVhP")}


@pytest.mark.parametrize("encapsulation", MENDED)
def test_what_leaves_through_the_tunnel_has_the_tunnels_address(encapsulation: str) -> None:
    device, comment = MENDED[encapsulation]
    source = "-m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL"
    assert lines("node1", "-A cali-POSTROUTING -o", encapsulation) == [
        (
            f"iptables -t nat -A cali-POSTROUTING -o {device} "
            f'-m comment --comment "{comment}" {source} -j MASQUERADE --random-fully'
        )
    ]


def test_pods_leave_the_cluster_with_the_nodes_address() -> None:
    sets = "-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst"
    assert lines("node1", "-A cali-nat-outgoing") == [
        (f'iptables -t nat -A cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa" {sets} '
        "-j MASQUERADE --random-fully")
    ]  # fmt: skip
    assert lines("node1", "ipset add") == [
        "ipset add cali40all-ipam-pools 20.96.0.0/12",
        "ipset add cali40masq-ipam-pools 20.96.0.0/12",
        "ipset add cali40all-hosts-net 192.168.59.22",
        "ipset add cali40all-hosts-net 192.168.59.23",
        "ipset add cali40this-host 127.0.0.1",
        "ipset add cali40this-host 192.168.59.22",
        "ipset add cali40this-host 20.111.156.0",
    ]


def test_the_client_and_the_switch_know_nothing_of_pods() -> None:
    assert lines("client", "route") == ["ip route add default via 192.168.59.1 dev eth0"]
    assert lines("switch", "route") == []


def test_every_object_comes_after_what_it_lies_on() -> None:
    for encapsulation in Encapsulation:
        given = set()
        for obj in compile_lab(lab(encapsulation), HostFeatures(ipip=False)):
            missing = [key for key in obj.requires if key not in given and key[0] not in ("Addressed", "Mac")]
            assert missing in ([], [("LinkUp", obj.ns, getattr(obj, "dev", ""))]), obj
            given.update(obj.provides)


def test_compiling_twice_says_the_same() -> None:
    first, second = (compile_lab(lab(), HostFeatures()) for _ in range(2))
    assert [command(step) for step in diff((), first)] == [command(step) for step in diff((), second)]
    assert len({obj.key for obj in first}) == len(first)
