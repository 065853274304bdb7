"""Subnets and routers: who has which route, where packets are wrapped, and which ones no router would carry."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from nslab.admission.load import load, parse
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.compiler.subnets import connected, encapsulated, gateway, next_hop, reachable_from
from nslab.lab.find import find
from nslab.lab.types import Encapsulation, Lab
from nslab.objects import names
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.script import commands

THREE = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: chain}
spec:
  networks: {nodes: [10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24]}
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: none}
  nodes:
  - {name: n1, address: 10.1.0.22}
  - {name: n2, address: 10.2.0.22}
  - {name: n3, address: 10.3.0.22}
  routers:
  - {name: r1, addresses: [10.1.0.1, 10.2.0.1]}
  - {name: r2, addresses: [10.2.0.2, 10.3.0.1]}
"""


def lab(encapsulation: str = "IPIPCrossSubnet", *, bgp: bool = False) -> Lab:
    made = assign_addresses(replace(load(find("calico-cross-subnet")), encapsulation=Encapsulation(encapsulation)))
    return replace(made, routers=tuple(replace(router, bgp=bgp) for router in made.routers))


def lines(of: Lab, machine: str, like: str) -> list[str]:
    """What is typed for one machine that looks like a pattern, without the namespace."""
    ns = names.netns(of.name, machine)
    plan = diff((), compile_lab(of, HostFeatures()))
    output = [line.replace(f" -n {ns}", "") for step in plan if step.obj.ns == ns for line in commands(step)]
    return [line for line in output if re.search(like, line)]


TO_NODE2, TO_NODE3 = "20.109.131.0/26", "20.108.66.64/26"
WAYS = {
    "IPIP": (f"{TO_NODE2} via 192.168.59.23 dev tunl0 proto bird onlink",
             f"{TO_NODE3} via 192.168.60.24 dev tunl0 proto bird onlink"),
    "IPIPCrossSubnet": (f"{TO_NODE2} via 192.168.59.23 dev eth0 proto bird",
                        f"{TO_NODE3} via 192.168.60.24 dev tunl0 proto bird onlink"),
    "VXLAN": (f"{TO_NODE2} via 20.109.131.0 dev vxlan.calico onlink",
              f"{TO_NODE3} via 20.108.66.64 dev vxlan.calico onlink"),
    "VXLANCrossSubnet": (f"{TO_NODE2} via 192.168.59.23 dev eth0 proto 80 onlink",
                         f"{TO_NODE3} via 20.108.66.64 dev vxlan.calico onlink"),
    "None": (f"{TO_NODE2} via 192.168.59.23 dev eth0 proto bird",
             f"{TO_NODE3} via 192.168.59.1 dev eth0 proto bird"),
}  # fmt: skip


@pytest.mark.parametrize("encapsulation", WAYS)
def test_a_tunnel_is_used_where_the_mode_asks_for_it(encapsulation: str) -> None:
    routes = lines(lab(encapsulation), "node1", "^ip route add 20.*/26")
    assert routes == [f"ip route add {way}" for way in WAYS[encapsulation]]


def test_felix_tells_every_other_node_s_tunnel_end_needed_or_not() -> None:
    assert lines(lab("VXLANCrossSubnet"), "node1", "fdb") == [
        f"bridge fdb add {names.vtep_mac('node2')} dev vxlan.calico dst 192.168.59.23 self permanent",
        f"bridge fdb add {names.vtep_mac('node3')} dev vxlan.calico dst 192.168.60.24 self permanent",
    ]


def test_each_subnet_has_a_switch_without_an_address() -> None:
    assert [line.split(" address")[0] for line in lines(lab(), "switch", "type bridge|addr add|ip_forward")] == [
        "ip link add br0",
        "ip link add br1",
    ]
    assert lines(lab(), "switch", "dev node3 master|node3 master") == ["ip link set node3 master br1"]


INSIDE = f"ip netns exec {names.netns('calico-cross-subnet', 'router')}"


def test_the_router_has_a_leg_in_each_subnet_and_knows_no_pod() -> None:
    assert lines(lab(), "router", "^ip (addr|route)|sysctl") == [
        "ip addr add 192.168.59.1/24 dev eth0",
        "ip addr add 192.168.60.1/24 dev eth1",
        f"{INSIDE} sysctl -qw net.ipv4.ip_forward=1",
        *(f"{INSIDE} sysctl -qw net.ipv4.conf.{dev}.send_redirects=0" for dev in ("all", "eth0", "eth1")),
    ]


def test_nodes_and_clients_leave_by_the_router_of_their_subnet() -> None:
    assert lines(lab(), "node1", "route add default") == ["ip route add default via 192.168.59.1 dev eth0"]
    assert lines(lab(), "client", "route add") == ["ip route add default via 192.168.60.1 dev eth0"]


def test_a_router_that_nodes_talk_bgp_with_knows_their_blocks() -> None:
    assert lines(lab("None", bgp=True), "router", "^ip route") == [
        "ip route add 20.111.156.0/26 via 192.168.59.22 dev eth0 proto bgp",
        "ip route add 20.109.131.0/26 via 192.168.59.23 dev eth0 proto bgp",
        "ip route add 20.108.66.64/26 via 192.168.60.24 dev eth1 proto bgp",
    ]


def test_bare_packets_pass_a_router_only_if_it_knows_pods() -> None:
    node1, node2, node3 = lab().nodes
    client = lab().clients[0].address
    for bgp in (False, True):
        bare = lab("None", bgp=bgp)
        assert (connected(bare, node1, node2), connected(bare, node1, node3), connected(bare, node3, node1)) == (
            True,
            bgp,
            bgp,
        )
        assert [reachable_from(bare, client, node) for node in bare.nodes] == [bgp] * 3
    assert all(connected(lab(mode), a, b) for mode in WAYS if mode != "None" for a in lab().nodes for b in lab().nodes)
    assert (encapsulated(lab(), node1, node2), encapsulated(lab(), node1, node3)) == (False, True)


def test_load_balancers_addresses_lead_through_the_router() -> None:
    text = find("calico-cross-subnet").read_text().replace("type: NodePort", "type: LoadBalancer")
    made = assign_addresses(parse(text, "lab.yaml"))
    assert lines(made, "client", "static") == ["ip route add 192.168.59.240 via 192.168.60.1 dev eth0 proto static"]
    assert lines(made, "router", "static") == ["ip route add 192.168.59.240 via 192.168.59.22 dev eth0 proto static"]


def test_a_chain_of_subnets() -> None:
    chain = assign_addresses(parse(THREE, "lab.yaml"))
    assert lines(chain, "n1", "^ip route add (default|10)") == ["ip route add default via 10.1.0.1 dev eth0"]
    assert lines(chain, "n2", "^ip route add (default|10)") == [
        "ip route add default via 10.2.0.1 dev eth0",
        "ip route add 10.3.0.0/24 via 10.2.0.2 dev eth0",
    ]
    assert lines(chain, "r1", "^ip route") == ["ip route add 10.3.0.0/24 via 10.2.0.2 dev eth1"]
    assert lines(chain, "n2", "bird$") == [
        "ip route add 20.96.0.0/26 via 10.2.0.1 dev eth0 proto bird",
        "ip route add 20.96.0.128/26 via 10.2.0.2 dev eth0 proto bird",
        "ip route add blackhole 20.96.0.64/26 proto bird",
    ]
    assert str(next_hop(chain, IPv4Address("10.1.0.22"), IPv4Address("10.3.0.22"))) == "10.1.0.1"
    assert str(gateway(chain, IPv4Network("10.3.0.0/24"))) == "10.3.0.1"


@pytest.mark.parametrize(
    ("knowing", "met"), [((), []), (("r1",), ["n1 n2"]), (("r1", "r2"), ["n1 n2", "n1 n3", "n2 n3"])]
)
def test_every_router_on_the_way_must_know(knowing: tuple[str, ...], met: list[str]) -> None:
    chain = assign_addresses(parse(THREE, "lab.yaml"))
    chain = replace(chain, routers=tuple(replace(router, bgp=router.name in knowing) for router in chain.routers))
    pairs = [(a, b) for index, a in enumerate(chain.nodes) for b in chain.nodes[index + 1 :]]
    assert [f"{a.name} {b.name}" for a, b in pairs if connected(chain, a, b)] == met


TWO_WAYS = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: ring}
spec:
  networks: {nodes: [10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24, 10.4.0.0/24]}
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: none}
  nodes:
  - {name: n1, address: 10.1.0.22}
  - {name: n3, address: 10.3.0.22}
  routers:
  - {name: r1, addresses: [10.1.0.254, 10.2.0.1], bgp: true}
  - {name: r2, addresses: [10.3.0.253, 10.4.0.1]}
  - {name: r3, addresses: [10.1.0.253, 10.4.0.2]}
  - {name: r4, addresses: [10.3.0.254, 10.2.0.2], bgp: true}
"""


def test_pods_meet_only_if_the_answer_finds_its_way_too() -> None:
    """There by r1 and r4, which know pods, and back by r2 and r3."""
    ring = assign_addresses(parse(TWO_WAYS, "lab.yaml"))
    n1, n3 = ring.nodes
    assert (next_hop(ring, n1.address, n3.address), next_hop(ring, n3.address, n1.address)) == (
        IPv4Address("10.1.0.254"), IPv4Address("10.3.0.253"),
    )  # fmt: skip
    assert not connected(ring, n1, n3)
    assert not connected(ring, n3, n1)
    knowing = replace(ring, routers=tuple(replace(router, bgp=True) for router in ring.routers))
    assert connected(knowing, n1, n3)


def test_the_way_out_is_the_first_router_wherever_it_is() -> None:
    ring = assign_addresses(parse(TWO_WAYS, "lab.yaml"))
    assert [str(gateway(ring, subnet)) for subnet in ring.networks.nodes] == [
        "10.1.0.254", "10.2.0.1", "10.3.0.253", "10.4.0.1",
    ]  # fmt: skip
    assert lines(ring, "n1", "default") == ["ip route add default via 10.1.0.254 dev eth0"]


def test_machines_outside_come_in_by_a_gateway_that_knows_pods_alone() -> None:
    ring = assign_addresses(parse(TWO_WAYS, "lab.yaml"))
    n1, n3 = ring.nodes
    assert reachable_from(ring, IPv4Address("10.1.0.9"), n3)  # by r1 and r4
    assert not reachable_from(ring, IPv4Address("10.3.0.9"), n1)
