"""Two subnets and a router: what is on the wire there, in each mode, and what the router does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.lab.find import find
from tests.kernel.labkit import nslab
from tests.kernel.wires import BARE_D, BARE_E, CHAIN, IPIP, NODE1, NODE2, NODE3, UDP, during_a_call, narrowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.pytest_plugin.running import RunningLab
    from tests.kernel.wires import Packet

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-cross-subnet", scope="module")]
FILE = find("calico-cross-subnet").read_text()
LEGS = ("router", "eth0"), ("router", "eth1")


@pytest.fixture
def shipped(lab: RunningLab) -> Iterator[RunningLab]:
    """The module's lab, which each test finds and leaves as its file says it."""
    yield lab
    lab.up("calico-cross-subnet")


CALLS: dict[str, tuple[Packet, Packet]] = {
    "IPIP": ((IPIP, NODE2, NODE1), (IPIP, NODE3, NODE1)),
    "IPIPCrossSubnet": (BARE_D, (IPIP, NODE3, NODE1)),
    "VXLAN": ((UDP, NODE2, NODE1), (UDP, NODE3, NODE1)),
    "VXLANCrossSubnet": (BARE_D, (UDP, NODE3, NODE1)),
}


@pytest.mark.parametrize("mode", CALLS)
def test_each_mode_wraps_what_it_says_and_the_router_sees_the_other_subnet_alone(
    shipped: RunningLab, mode: str
) -> None:
    """Each call's packets at node1's eth0 and on both legs of the router."""
    shipped.set(encapsulation=mode)
    from_d, from_e = CALLS[mode]
    assert during_a_call(shipped, "pod-d", ("node1", "eth0"), *LEGS) == [{from_d}, set(), set()]
    assert during_a_call(shipped, "pod-e", ("node1", "eth0"), *LEGS) == [{from_e}, {from_e}, {from_e}]
    assert shipped.diff() == []


ROUTES = {
    "IPIP": {(NODE2, "tunl0", "bird"), (NODE3, "tunl0", "bird")},
    "IPIPCrossSubnet": {(NODE2, "eth0", "bird"), (NODE3, "tunl0", "bird")},
    "VXLAN": {("20.109.131.0", "vxlan.calico", "boot"), ("20.108.66.64", "vxlan.calico", "boot")},
    "VXLANCrossSubnet": {(NODE2, "eth0", "80"), ("20.108.66.64", "vxlan.calico", "boot")},
    "None": {(NODE2, "eth0", "bird"), ("192.168.59.1", "eth0", "bird")},
}


@pytest.mark.parametrize("mode", ROUTES)
def test_routes_and_the_probe(shipped: RunningLab, mode: str) -> None:
    """`nslab probe` proves what it expects: with None, that Pods of two subnets do not meet."""
    shipped.set(encapsulation=mode)
    routes = shipped.node("node1").json("ip", "-j", "route")
    others = [route for route in routes if route["dst"].endswith("/26") and "gateway" in route]
    found = {(route["gateway"], route["dev"], route.get("protocol", "boot")) for route in others}
    assert found == ROUTES[mode]
    answers = [answer for answer in shipped.probe() if "to" in answer and answer["kind"] != "mtu"]
    blocked = {(answer["from"], answer["to"]) for answer in answers if answer["expected"] == "fail"}
    assert (("pod-b", "pod-e") in blocked) is (mode == "None")
    assert ("pod-b", "pod-d") not in blocked
    assert ("client", "pod-e") in blocked


def test_the_router_told_by_hand_carries_bare_packets_and_the_probe_goes_by_it(shipped: RunningLab) -> None:
    shipped.set(encapsulation="None")
    router = shipped.router()
    router.run("ip", "route", "add", "20.111.156.0/26", "via", NODE1)
    router.run("ip", "route", "add", "20.108.66.64/26", "via", NODE3)
    half = nslab("probe", shipped.name, "--from", "pod-b", "--to", "pod-e")
    assert half.returncode == 1
    assert f"router has a route to 20.108.66.64/26 via {NODE3} through eth1 that is not the lab's" in half.stdout
    router.run("ip", "route", "add", "20.109.131.0/26", "via", NODE2)
    assert during_a_call(shipped, "pod-e", *LEGS) == [{BARE_E}, {BARE_E}]
    whole = nslab("probe", shipped.name)
    assert whole.returncode == 0, whole.stdout
    assert "blocked" not in whole.stdout
    assert "router knows the way to pods by routes made by hand" in whole.stdout
    assert len(shipped.diff()) == 3


def test_a_router_with_bgp_needs_no_tunnel(shipped: RunningLab) -> None:
    shipped.up(FILE.replace("192.168.60.1]}", "192.168.60.1], bgp: true}"), encapsulation="None")
    routes = shipped.router().json("ip", "-j", "route", "show", "proto", "bgp")
    known = {route["dst"]: route["gateway"] for route in routes}
    assert known == {"20.111.156.0/26": NODE1, "20.109.131.0/26": NODE2, "20.108.66.64/26": NODE3}
    answers = shipped.probe()
    assert [answer for answer in answers if answer["expected"] == "fail" and answer["kind"] != "mtu"] == []


def test_a_load_balancer_s_address_is_reached_from_the_other_subnet(shipped: RunningLab) -> None:
    shipped.up(FILE.replace("type: NodePort", "type: LoadBalancer"))
    (way,) = shipped.client().json("ip", "-j", "route", "show", "proto", "static")
    assert way["gateway"] == "192.168.60.1"
    assert shipped.client().http(f"{way['dst']}:8080/hostname").text == "pod-b"
    shipped.probe()


def test_the_router_is_a_host_like_others(shipped: RunningLab) -> None:
    assert shipped.router().run("hostname").stdout == "router\n"
    addresses = {row["ifname"]: row["addr_info"][0]["local"] for row in shipped.router().json("ip", "-4", "-j", "addr")}
    assert addresses == {"lo": "127.0.0.1", "eth0": "192.168.59.1", "eth1": "192.168.60.1"}
    shipped.sh("router", "ip addr del 192.168.60.1/24 dev eth1")
    assert shipped.diff() == ["router has no address 192.168.60.1/24 on eth1"]
    done = nslab("probe", shipped.name, "--from", "pod-b", "--to", "pod-e")
    assert done.returncode == 1
    assert "router has no address 192.168.60.1/24 on eth1" in done.stdout
    shipped.mend()
    shipped.probe("pod-b", "pod-e")


@pytest.mark.lab(CHAIN)
def test_a_narrow_link_between_two_routers_is_told_back_to_the_pod(lab: RunningLab) -> None:
    """The outer packet bears the inner one's DF: so the router answers the node, and the node the pod."""
    ping, sender, target = narrowed(lab), lab.pod("pod-e"), lab.pod("pod-a").address
    assert " 1 received" in ping("-M", "dont", "-s", "1400"), "what may be cut is cut, by the router"
    # The first one is the router's to answer, which tells node3; from then on node3 tells who sends too much.
    lab.wait(lambda: "Frag needed and DF set (mtu = 1380)" in ping("-M", "do", "-s", "1400"))
    assert " 1 received" in ping("-M", "do", "-s", "1352")
    assert " 1 received" in ping("-M", "dont", "-s", "1400"), "what may be cut is cut, by node3"
    (way,) = sender.json("ip", "-j", "route", "get", str(target))
    assert way["metrics"][0]["mtu"] == 1380
    assert sender.http(f"{target}:8080/hostname").text == "pod-a"
