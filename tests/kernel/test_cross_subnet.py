"""Two subnets and a router: what is on the wire there, in each mode, and what the router does with it."""

from __future__ import annotations

import json
import select
import socket
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from nslab import syscall
from tests.kernel.labkit import OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

IPIP, UDP, TCP, VXLAN_PORT = 4, 17, 6, 4789
POD_B, POD_D, POD_E = "20.111.156.7", "20.109.131.3", "20.108.66.68"
NODE1, NODE2, NODE3 = "192.168.59.22", "192.168.59.23", "192.168.60.24"


@pytest.fixture
def lab(tmp_path: Any) -> Iterator[OwnLab]:
    own = OwnLab(tmp_path, "calico-cross-subnet")
    try:
        yield own
    finally:
        nslab("down", own.name)
        assert own.left() == []


@contextmanager
def listening(lab: OwnLab, host: str, dev: str) -> Iterator[socket.socket]:
    """What comes in and goes out on an interface."""
    here = open("/proc/thread-self/ns/net")  # noqa: SIM115
    with here, open(f"/run/netns/{lab.ns(host)}") as there:
        syscall.setns(there.fileno(), syscall.CLONE_NEWNET)
        try:
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
            packets.bind((dev, 0x0003))
        finally:
            syscall.setns(here.fileno(), syscall.CLONE_NEWNET)
    with packets:
        yield packets


def heard(packets: socket.socket) -> list[tuple[int, str, str]]:
    """Protocol, source and destination of each IPv4 packet about the call: bare TCP to 8080, or what wraps packets."""
    found = []
    while select.select([packets], [], [], 0)[0]:
        packet, (_, ethertype, *_) = packets.recvfrom(65535)
        if ethertype == 0x0800:
            kind, source, target = packet[9], socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            ports = struct.unpack_from("!HH", packet, (packet[0] & 15) * 4) if kind in (TCP, UDP) else (0, 0)
            if kind == IPIP or (kind == TCP and 8080 in ports) or (kind == UDP and VXLAN_PORT in ports):
                found.append((kind, source, target))
    return found


def seen_during_a_call(lab: OwnLab, asker: str, *wires: tuple[str, str]) -> list[set[tuple[int, str, str]]]:
    """What each wire carries towards Pod B's node while a pod asks Pod B."""
    with ExitStack() as stack:
        open_wires = [stack.enter_context(listening(lab, *wire)) for wire in wires]
        assert lab.talks(asker, POD_B)
        return [{one for one in heard(packets) if one[2] in (POD_B, NODE1)} for packets in open_wires]


BARE_D, BARE_E = (TCP, POD_D, POD_B), (TCP, POD_E, POD_B)
CALLS = {
    "IPIP": ((IPIP, NODE2, NODE1), (IPIP, NODE3, NODE1)),
    "IPIPCrossSubnet": (BARE_D, (IPIP, NODE3, NODE1)),
    "VXLAN": ((UDP, NODE2, NODE1), (UDP, NODE3, NODE1)),
    "VXLANCrossSubnet": (BARE_D, (UDP, NODE3, NODE1)),
}


def test_each_mode_wraps_what_it_says_and_the_router_sees_the_other_subnet_alone(lab: OwnLab) -> None:
    """One lab, switched live through all modes; each call's packets at node1's eth0 and on both legs of the router."""
    lab.up("--encapsulation", "None")
    for mode, (from_d, from_e) in CALLS.items():
        done = nslab("set", lab.name, f"encapsulation={mode}")
        assert done.returncode == 0, done.stderr
        wires = (("node1", "eth0"), ("router", "eth0"), ("router", "eth1"))
        assert seen_during_a_call(lab, "pod-d", *wires) == [{from_d}, set(), set()], mode
        assert seen_during_a_call(lab, "pod-e", *wires) == [{from_e}, {from_e}, {from_e}], mode
        assert lab.differences() == []


ROUTES = {
    "IPIP": {(NODE2, "tunl0", "bird"), (NODE3, "tunl0", "bird")},
    "IPIPCrossSubnet": {(NODE2, "eth0", "bird"), (NODE3, "tunl0", "bird")},
    "VXLAN": {("20.109.131.0", "vxlan.calico", "boot"), ("20.108.66.64", "vxlan.calico", "boot")},
    "VXLANCrossSubnet": {(NODE2, "eth0", "80"), ("20.108.66.64", "vxlan.calico", "boot")},
    "None": {(NODE2, "eth0", "bird"), ("192.168.59.1", "eth0", "bird")},
}


def test_routes_and_the_probe_in_every_mode(lab: OwnLab) -> None:
    """`nslab probe` proves what it expects: with None, that Pods of two subnets do not meet."""
    lab.up("--encapsulation", "IPIP")
    for mode, wanted in ROUTES.items():
        assert nslab("set", lab.name, f"encapsulation={mode}").returncode == 0
        routes = json.loads(lab.sh("node1", "ip -j route"))
        assert {
            (route["gateway"], route["dev"], route.get("protocol", "boot"))
            for route in routes
            if route["dst"].endswith("/26") and "gateway" in route
        } == wanted, mode
        done = nslab("probe", lab.name, "-o", "json")
        assert done.returncode == 0, done.stdout
        blocked = {
            (a["from"], a["to"]) for a in json.loads(done.stdout) if a.get("expected") == "fail" and "size" not in a
        }
        assert (("pod-b", "pod-e") in blocked) is (mode == "None")
        assert (("pod-b", "pod-d") in blocked) is False
        assert ("client", "pod-e") in blocked


def test_the_router_told_by_hand_carries_bare_packets_and_the_probe_goes_by_it(lab: OwnLab) -> None:
    lab.up("--encapsulation", "None")
    assert json.loads(lab.sh("router", "ip -j route show proto bgp")) == []
    lab.sh("router", f"ip route add 20.111.156.0/26 via {NODE1}")
    lab.sh("router", f"ip route add 20.108.66.64/26 via {NODE3}")
    half = nslab("probe", lab.name, "--from", "pod-b", "--to", "pod-e")
    assert half.returncode == 1
    assert f"router has a route to 20.108.66.64/26 via {NODE3} through eth1 that is not the lab's" in half.stdout
    lab.sh("router", f"ip route add 20.109.131.0/26 via {NODE2}")
    assert seen_during_a_call(lab, "pod-e", ("router", "eth0"), ("router", "eth1")) == [{BARE_E}, {BARE_E}]
    whole = nslab("probe", lab.name)
    assert whole.returncode == 0, whole.stdout
    assert "blocked" not in whole.stdout
    assert "router knows where pods are by routes made by hand" in whole.stdout
    assert len(lab.differences()) == 3


def test_a_router_with_bgp_needs_no_tunnel(lab: OwnLab) -> None:
    lab.edit("192.168.60.1]}", "192.168.60.1], bgp: true}")
    lab.up("--encapsulation", "None")
    known = {route["dst"]: route["gateway"] for route in json.loads(lab.sh("router", "ip -j route show proto bgp"))}
    assert known == {"20.111.156.0/26": NODE1, "20.109.131.0/26": NODE2, "20.108.66.64/26": NODE3}
    done = nslab("probe", lab.name)
    assert (done.returncode, "blocked" in done.stdout) == (0, False), done.stdout


def test_a_load_balancer_s_address_is_reached_from_the_other_subnet(lab: OwnLab) -> None:
    lab.edit("type: NodePort", "type: LoadBalancer")
    lab.up()
    (way,) = json.loads(lab.sh("client", "ip -j route show proto static"))
    assert way["gateway"] == "192.168.60.1"
    assert lab.talks("client", way["dst"])
    done = nslab("probe", lab.name)
    assert done.returncode == 0, done.stdout


CHAIN = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  networks: {nodes: [10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24]}
  cni: {plugin: calico, encapsulation: IPIPCrossSubnet}
  nodes: [{name: node1, address: 10.1.0.22}, {name: node3, address: 10.3.0.22}]
  routers: [{name: r1, addresses: [10.1.0.1, 10.2.0.1]}, {name: r2, addresses: [10.2.0.2, 10.3.0.1]}]
---
apiVersion: v1
kind: Pod
metadata: {name: pod-a}
spec: {nodeName: node1, containers: [{name: app, image: agnhost, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-e}
spec: {nodeName: node3, containers: [{name: app, image: agnhost, ports: [{containerPort: 8080}]}]}
"""


def test_a_narrow_link_between_two_routers_is_told_back_to_the_pod(lab: OwnLab) -> None:
    """The outer packet bears the inner one's DF: so the router answers the node, and the node the pod."""
    lab.write(CHAIN.replace("NAME", lab.name))
    lab.up()
    for host, dev in (("r1", "eth1"), ("r2", "eth0"), ("switch", "r1.eth1"), ("switch", "r2")):
        lab.sh(host, f"ip link set {dev} mtu 1400")
    address = str(next(pod.assigned for pod in lab.lab().pods if pod.name == "pod-a"))

    def ping(*options: str) -> str:
        return nslab("exec", f"{lab.name}/pod-e", "--", "ping", "-c", "1", "-W", "1", *options, address).stdout

    assert " 1 received" in ping("-M", "dont", "-s", "1400"), "what may be cut is cut, by the router"
    # The first one is the router's to answer, which tells node3; from then on node3 tells who sends too much.
    until(lambda: "Frag needed and DF set (mtu = 1380)" in ping("-M", "do", "-s", "1400"))
    assert " 1 received" in ping("-M", "do", "-s", "1352")
    assert " 1 received" in ping("-M", "dont", "-s", "1400"), "what may be cut is cut, by node3"
    (way,) = json.loads(lab.sh("pod-e", f"ip -j route get {address}"))
    assert way["metrics"][0]["mtu"] == 1380
    assert lab.talks("pod-e", address)


def test_the_router_is_a_host_like_others(lab: OwnLab) -> None:
    lab.up()
    assert nslab("exec", f"{lab.name}/router", "--", "hostname").stdout == "router\n"
    rows = json.loads(nslab("inspect", f"{lab.name}/router", "-o", "json").stdout)
    assert {row["interface"]: row["addresses"][0] for row in rows} == {
        "lo": "127.0.0.1/8",
        "eth0": "192.168.59.1/24",
        "eth1": "192.168.60.1/24",
    }
    lab.sh("router", "ip addr del 192.168.60.1/24 dev eth1")
    assert lab.differences() == ["router has no address 192.168.60.1/24 on eth1"]
    done = nslab("probe", lab.name, "--from", "pod-b", "--to", "pod-e")
    assert done.returncode == 1
    assert "router has no address 192.168.60.1/24 on eth1" in done.stdout
    assert "mended" in lab.up()
    assert nslab("probe", lab.name, "--from", "pod-b", "--to", "pod-e").returncode == 0
