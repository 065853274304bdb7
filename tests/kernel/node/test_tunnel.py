"""The stand-in for the ipip driver, between two nodes on a switch."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from nodebench import Bench, sh

from nslab.objects.plan import Add
from nslab.objects.process import TunnelAgent

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def nodes(bench: Bench) -> Bench:
    """node1 and node2, whose tunl0 lead to each other; node3 is there for wrong routes."""
    bench.add_ns("switch")
    switch = bench.ns("switch")
    sh(f"ip -n {switch} link add br0 up type bridge")
    for number in (1, 2, 3):
        bench.node(f"node{number}")
        node = bench.ns(f"node{number}")
        sh(f"ip -n {node} link add eth0 type veth peer name n{number} netns {switch}")
        sh(f"ip -n {switch} link set n{number} master br0 up")
        sh(f"ip -n {node} link set eth0 up")
        sh(f"ip -n {node} addr add 192.168.59.2{number}/24 dev eth0")
        sh(f"ip -n {node} tuntap add tunl0 mode tun")
        sh(f"ip -n {node} link set tunl0 mtu 1480 up")
        sh(f"ip -n {node} addr add 20.96.{number}.1/32 dev tunl0")
        bench.agents.run([Add(TunnelAgent(node, node, "tunl0", IPv4Address(f"192.168.59.2{number}")))])
    for here, there in ((1, 2), (2, 1), (3, 2)):
        route(bench, here, there, there)
    return bench


def route(bench: Bench, node: int, block: int, via: int) -> None:
    ns = bench.ns(f"node{node}")
    sh(f"ip -n {ns} route replace 20.96.{block}.0/24 via 192.168.59.2{via} dev tunl0 onlink")


def ping(bench: Bench, size: int, *more: str, node: str = "node1") -> subprocess.CompletedProcess[str]:
    command = ["ip", "netns", "exec", bench.ns(node), "ping", "-c1", "-W2", f"-s{size}", *more, "20.96.2.1"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def wire(nodes: Bench) -> Iterator[socket.socket]:
    """Everything that leaves or reaches node2's eth0."""
    made: list[socket.socket] = []

    def listen() -> None:
        made.append(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
        made[0].bind(("eth0", 3))
        made[0].setblocking(False)

    nodes.inside("node2", listen)
    yield made[0]
    made[0].close()


def seen(wire: socket.socket) -> list[bytes]:
    packets = []
    while True:
        try:
            packet, address = wire.recvfrom(65536)
        except BlockingIOError:
            return packets
        if address[1] == 0x0800:
            packets.append(packet)


def test_packets_on_the_wire_are_the_drivers(nodes: Bench, wire: socket.socket) -> None:
    # The first ping finds the neighbour; what is looked at is the second.
    ping(nodes, 56)
    seen(wire)
    assert ping(nodes, 56, "-Mdo", "-t", "17").returncode == 0
    there, back = seen(wire)
    assert (there[9], there[12:16], there[16:20]) == (4, bytes((192, 168, 59, 21)), bytes((192, 168, 59, 22)))
    assert (back[9], back[12:16], back[16:20]) == (4, bytes((192, 168, 59, 22)), bytes((192, 168, 59, 21)))
    assert there[8] == there[28] == 17  # TTL as the inner packet's
    assert there[6] & 0x40 == there[26] & 0x40 == 0x40  # and DF
    assert len(there) == 20 + 84


def test_nobody_complains_of_an_unknown_protocol(nodes: Bench, wire: socket.socket) -> None:
    for _ in range(3):
        assert ping(nodes, 56).returncode == 0
    assert {packet[9] for packet in seen(wire)} == {4}


def test_mtu(nodes: Bench) -> None:
    assert ping(nodes, 1452, "-Mdo").returncode == 0
    refused = ping(nodes, 1453, "-Mdo")
    assert refused.returncode != 0
    # ping names the MTU or not, depending on its version.
    assert re.search("mtu=1480|Message too long", refused.stderr + refused.stdout)
    assert ping(nodes, 4000).returncode == 0  # in fragments


def test_a_changed_route_is_followed_at_once(nodes: Bench, wire: socket.socket) -> None:
    assert ping(nodes, 56).returncode == 0
    route(nodes, 1, 2, 3)  # node3 forwards nothing
    assert ping(nodes, 56, "-W0.3").returncode != 0
    route(nodes, 1, 2, 2)
    assert ping(nodes, 56).returncode == 0


def test_tcp_goes_through(nodes: Bench) -> None:
    made: dict[str, socket.socket] = {}
    nodes.inside("node2", lambda: made.update(server=socket.create_server(("20.96.2.1", 5001))))
    nodes.inside("node1", lambda: made.update(client=socket.create_connection(("20.96.2.1", 5001), 5)))
    peer, _ = made["server"].accept()
    peer.settimeout(5)
    data = bytes(range(256)) * 4096
    sender = threading.Thread(target=made["client"].sendall, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data):
        received += peer.recv(1 << 17)
    sender.join()
    assert received == data
    for end in (*made.values(), peer):
        end.close()


def test_is_found_by_its_mark(nodes: Bench) -> None:
    assert nodes.record("node1", "tunnel").name == "nslab-tunnel"
