"""BIRD's configuration of nodes and routers, and what a lab file says of it."""

from __future__ import annotations

import pytest

from nslab.admission.load import parse, parse_with_warnings
from nslab.bgp.config import config
from nslab.compiler import compile_lab
from nslab.compiler.bgp import one_way, speakers
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.objects.iptables import Chain
from nslab.objects.needs import FULL
from nslab.objects.process import Bird
from nslab.objects.routes import Blackhole, Destination, Route
from nslab.ruletext.comments import without_comment

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: lab}
spec:
  cni: {plugin: calico, encapsulation: IPIP, bgp: BGP}
  nodes:
  - {name: node1, podCIDR: 20.111.156.0/26}
  - {name: node2, podCIDR: 20.109.131.0/26}
  - {name: node3, podCIDR: 20.108.66.64/26}
"""
RACK = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: lab}
spec:
  networks: {nodes: [192.168.59.0/24, 192.168.60.0/24]}
  cni: {plugin: calico, encapsulation: CROSSING, bgp: BGP}
  nodes: [{name: node1, address: 192.168.59.22}, {name: node2, address: 192.168.60.22}]
  routers: [{name: tor, addresses: [192.168.59.1, 192.168.60.1], bgp: ROUTER}]
"""


def lab_of(bgp: str, encapsulation: str = "IPIP"):
    return assign_addresses(parse(LAB.replace("IPIP", encapsulation).replace("BGP", bgp), "f"))


def rack(bgp: str, router: str = "true", crossing: str = "IPIP"):
    return assign_addresses(
        parse(RACK.replace("CROSSING", crossing).replace("BGP", bgp).replace("ROUTER", router), "f")
    )


def sessions(lab, machine: str) -> list[str]:
    """The protocols of a machine's configuration that speak BGP."""
    text = config(speakers(lab)[machine])
    return [" ".join(part.split("}")[0].split()) for part in text.split("protocol bgp ")[1:]]


def filter_of(lab, machine: str = "node1") -> list[str]:
    """What the filter says that stands between BIRD's table and the kernel's."""
    body = config(speakers(lab)[machine]).partition("filter calico_kernel_programming {\n")[2].partition("\n}\n")[0]
    return [line.strip() for line in body.splitlines()]


def test_each_node_speaks_with_each_and_the_greater_address_connects() -> None:
    peers = "from bgp_template { local 192.168.59.23 as 64512; neighbor 192.168.59"
    assert sessions(lab_of("bird"), "node2") == [
        f"Mesh_192_168_59_22 {peers}.22 as 64512; multihop;",
        f"Mesh_192_168_59_24 {peers}.24 as 64512; multihop; passive on;",
    ]


def test_others_speak_with_the_reflector_alone() -> None:
    lab = lab_of("{routeReflectors: [node1], asNumber: 65000}")
    client = "rr client; rr cluster id 244.0.0.1;"
    local = "from bgp_template { local 192.168.59.22 as 65000; neighbor 192.168.59"
    assert sessions(lab, "node1") == [
        f"Node_192_168_59_23 {local}.23 as 65000; multihop; {client}",
        f"Node_192_168_59_24 {local}.24 as 65000; multihop; {client}",
    ]
    (only,) = sessions(lab, "node2")
    assert only.startswith("Global_192_168_59_22 from bgp_template")
    assert "rr client" not in only


@pytest.mark.parametrize(
    ("encapsulation", "wanted"),
    [
        (
            "IPIP",
            [
                "if source = RTS_DEVICE then reject;",
                "if source = RTS_BGP && net ~ 20.96.0.0/12 then {",
                "# In this order: ifname takes the gateway away, and a gateway that is not onlink is refused.",
                'ifname = "tunl0"; onlink = true; gw = bgp_next_hop;',
                "}",
                "accept;",
            ],
        ),
        ("VXLAN", ["if source = RTS_DEVICE then reject;", "if net ~ 20.96.0.0/12 then reject;", "accept;"]),
        ("None", ["if source = RTS_DEVICE then reject;", "accept;"]),
    ],
)
def test_the_encapsulation_decides_what_goes_into_the_kernel(encapsulation: str, wanted: list[str]) -> None:
    assert filter_of(lab_of("bird", encapsulation)) == wanted


def test_within_a_subnet_no_tunnel_is_needed() -> None:
    condition = "if source = RTS_BGP && net ~ 20.96.0.0/12 && ! (bgp_next_hop ~ 192.168.60.0/24) then {"
    assert condition in filter_of(rack("bird", crossing="IPIPCrossSubnet"), "node2")


def test_the_range_of_services_is_announced_and_never_in_a_nodes_kernel() -> None:
    text = config(speakers(lab_of("{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}"))["node1"])
    assert "  route 10.96.0.0/12 blackhole;\n" in text
    assert "  if net ~ 10.96.0.0/12 then accept;\n" in text.partition("function calico_export")[2]
    assert "  if net ~ 10.96.0.0/12 then reject;\n" in text.partition("function calico_aggr")[0]


def test_felix_drops_what_no_service_took_of_the_announced_range() -> None:
    """It would leave by the default route to the router, which would send it back."""
    state = compile_lab(lab_of("{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}"), FULL)
    chains = [obj for obj in state if isinstance(obj, Chain) and obj.name == "cali-cidr-block"]
    rules = [without_comment(rule) for obj in chains for rule in obj.rules]
    assert rules == ["-d 10.96.0.0/12 -j DROP"] * 3


def test_a_router_of_the_nodes_own_system_reflects_and_another_only_listens() -> None:
    own = rack("{nodeToNodeMeshEnabled: false, peers: [{peerIP: 192.168.59.1}]}")
    near, far = sessions(own, "tor")
    assert near.startswith(
        "Node_192_168_59_22 from nodes { local 192.168.59.1 as 64512; neighbor 192.168.59.22 as 64512"
    )
    assert far.startswith(
        "Node_192_168_60_22 from nodes { local 192.168.60.1 as 64512; neighbor 192.168.60.22 as 64512"
    )
    assert "rr client; rr cluster id 192.168.59.1;" in near
    assert "export where source = RTS_BGP" in near
    other = rack("{peers: [{peerIP: 192.168.59.1, asNumber: 65001}]}", "{asNumber: 65001}")
    assert "local 192.168.59.1 as 65001;" in sessions(other, "tor")[0]
    assert "export none" in sessions(other, "tor")[0]


def test_a_router_learns_each_block_from_its_node_or_by_detours() -> None:
    def clean(bgp: str, router: str = "true") -> bool:
        lab = rack(bgp, router)
        return one_way(lab, lab.routers[0])

    assert clean("{nodeToNodeMeshEnabled: false, peers: [{peerIP: 192.168.59.1}]}")
    assert not clean("{peers: [{peerIP: 192.168.59.1, asNumber: 65001}]}", "{asNumber: 65001}")
    assert clean("{peers: [{peerIP: 192.168.59.1, asNumber: 65001, keepOriginalNextHop: true}]}", "{asNumber: 65001}")
    assert not clean("{peers: [{peerIP: 192.168.59.1, asNumber: 65002}]}", "{asNumber: 65001}")
    assert not clean("bird")


def test_with_bird_the_plan_has_the_same_routes_and_a_daemon_more_per_node() -> None:
    with_bird, without = compile_lab(lab_of("bird"), FULL), compile_lab(parse(LAB.replace(", bgp: BGP", ""), "f"), FULL)
    daemons = [obj for obj in with_bird if isinstance(obj, Bird)]
    assert [obj.host for obj in daemons] == ["node1", "node2", "node3"]
    assert tuple(obj for obj in with_bird if obj not in daemons) == without
    learned = [obj for obj in with_bird if isinstance(obj, Destination) and obj.learned]
    assert {type(obj) for obj in learned} == {Route, Blackhole}
    assert {obj.protocol for obj in learned} == {"bird"}
    assert len(learned) == 9


def test_what_a_lab_file_says_of_bgp_is_kept() -> None:
    full = (
        "{daemon: bird, asNumber: 64999, nodeToNodeMeshEnabled: false, nodeMeshMaxRestartTime: 5s, "
        "peers: [{peerIP: 192.168.59.1, keepOriginalNextHop: true}, {peerIP: 192.168.59.9, asNumber: 65001}], "
        "serviceClusterIPs: [{cidr: 10.96.0.0/12}]}"
    )
    lab = rack(full, "{asNumber: 64999}")
    again = parse(dump(lab), "f")
    assert (again.bgp, again.routers) == (lab.bgp, lab.routers)
    assert lab.bgp
    assert (lab.bgp.restart_time, [one.as_number for one in lab.bgp.peers]) == (5, [64999, 65001])
    assert parse(dump(lab_of("bird")), "f").bgp == lab_of("bird").bgp


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("bgp: BGP", "bgp: brid", "spec.cni.bgp: unknown value brid; did you mean bird?"),
        (
            "plugin: calico, encapsulation: IPIP, bgp: BGP",
            "plugin: kubenet, bgp: bird",
            "kubenet has no BGP; remove it, or use plugin: calico",
        ),
        ("bgp: BGP", "bgp: {routeReflectors: [node4]}", "there is no node node4; did you mean node3?"),
        (
            "bgp: BGP",
            "bgp: {routeReflectors: [node1], nodeToNodeMeshEnabled: true}",
            "route reflectors take the mesh's place; remove one of the two",
        ),
        (
            "bgp: BGP",
            "bgp: {nodeToNodeMeshEnabled: false}",
            "without a mesh no node learns another's blocks; name routeReflectors",
        ),
        (
            "bgp: BGP",
            "bgp: {peers: [{peerIP: 10.0.0.1}, {peerIP: 10.0.0.1, asNumber: 65001}]}",
            "10.0.0.1 is a peer already",
        ),
        (
            "bgp: BGP",
            "bgp: {peers: [{peerIP: 192.168.59.23}]}",
            "192.168.59.23 is node2; nodes speak by the mesh, or with routeReflectors",
        ),
        (
            "bgp: BGP",
            "bgp: {serviceClusterIPs: [{cidr: 0.0.0.0/0}]}",
            "0.0.0.0/0 and the pod network 20.96.0.0/12 overlap; name ranges of Services",
        ),
        ("bgp: BGP", "bgp: {peers: [{asNumber: 1}]}", "spec.cni.bgp.peers[0].peerIP is missing"),
        ("bgp: BGP", "bgp: {asNumber: 0}", "spec.cni.bgp.asNumber: 0 is out of range; it goes from 1 to 4294967295"),
        (
            "bgp: BGP",
            "bgp: {nodeMeshMaxRestartTime: 2m}",
            "spec.cni.bgp.nodeMeshMaxRestartTime: 2m must be seconds, as in 120s",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(old: str, new: str, error: str) -> None:
    with pytest.raises(LabFileError) as caught:
        parse(LAB.replace(old, new), "f")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("bgp", "router", "warning"),
    [
        ("bird", "true", "no node speaks with tor; name one of its addresses in cni.bgp.peers"),
        ("{peers: [{peerIP: 192.168.59.9}]}", "false", "no router with bgp has the address 192.168.59.9"),
        (
            "{peers: [{peerIP: 192.168.59.1, asNumber: 65002}]}",
            "{asNumber: 65001}",
            "192.168.59.1 is in autonomous system 65001, and not in 65002: both refuse the session",
        ),
        (
            "{peers: [{peerIP: 192.168.59.1, asNumber: 65001}]}",
            "{asNumber: 65001}",
            "keepOriginalNextHop: true keeps each block's own node",
        ),
    ],
)
def test_a_session_that_cannot_do_what_is_meant_is_warned_of(bgp: str, router: str, warning: str) -> None:
    text = RACK.replace("CROSSING", "IPIP").replace("BGP", bgp).replace("ROUTER", router)
    assert warning in str(parse_with_warnings(text, "f")[1][0])
    kept = text.replace("asNumber: 65001}]", "asNumber: 65001, keepOriginalNextHop: true}]")
    assert kept == text or not parse_with_warnings(kept, "f")[1]


def test_a_routers_autonomous_system_needs_a_daemon() -> None:
    text = RACK.replace(", bgp: BGP", "").replace("CROSSING", "IPIP").replace("ROUTER", "{asNumber: 65001}")
    with pytest.raises(LabFileError, match="an autonomous system needs a BGP daemon"):
        parse(text, "f")
