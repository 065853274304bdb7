"""Packets that say nothing of a failed test, made byte by byte."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from nslab.pytest_plugin.capture import Packet
from nslab.pytest_plugin.noise import without_noise

NODE, POD, OTHER = "192.168.59.22", "20.111.156.7", "20.109.131.3"
PROBED = frozenset({(POD, 8080)})
PROBE = b"GET /healthz HTTP/1.1\r\nHost: 20.111.156.7:8080\r\nUser-Agent: kube-probe/1.31\r\n"


def tcp(source: tuple[str, int], target: tuple[str, int], payload: bytes = b"", *, outgoing: bool = True) -> Packet:
    """A segment without options, with a trailer as short frames have it."""
    segment = source[1].to_bytes(2, "big") + target[1].to_bytes(2, "big") + bytes(8) + b"\x50" + bytes(7) + payload
    addresses = IPv4Address(source[0]).packed + IPv4Address(target[0]).packed
    head = b"\x45\0" + (20 + len(segment)).to_bytes(2, "big") + bytes(4) + b"\x40\x06\0\0" + addresses
    return packet(0x0800, head + segment + bytes(6), outgoing=outgoing)


def icmpv6(kind: int, hop_by_hop: bytes = b"") -> Packet:
    head = b"\x60" + bytes(5) + (b"\0" if hop_by_hop else b"\x3a") + b"\xff" + IPv6Address("fe80::1").packed * 2
    return packet(0x86DD, head + hop_by_hop + bytes([kind]) + bytes(23))


def packet(protocol: int, data: bytes, *, outgoing: bool = True) -> Packet:
    return Packet(data, len(data), bytes(16), ("eth0", protocol, 4 if outgoing else 0, 1, bytes(6)))


@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_neighbour_discovery_and_multicast_listeners_are_noise(kind: int) -> None:
    router_alert = b"\x3a\0\5\2\0\0\1\0"
    assert without_noise([icmpv6(kind), icmpv6(kind, router_alert)], PROBED) == []


def test_other_packets_are_not() -> None:
    echo, arp = icmpv6(128), packet(0x0806, bytes(28))
    short = packet(0x86DD, bytes(20))
    udp = packet(0x0800, b"\x45" + bytes(8) + b"\x11" + bytes(40))
    assert without_noise([echo, arp, short, udp], PROBED) == [echo, arp, short, udp]


def test_a_connection_that_says_it_is_the_kubelet_s_is_noise_from_its_first_packet_to_its_last() -> None:
    there, back = ((NODE, 40000), (OTHER, 9000)), ((OTHER, 9000), (NODE, 40000))
    whole = [tcp(*there), tcp(*back, outgoing=False), tcp(*there, PROBE), tcp(*back, b"HTTP/1.1 200 OK"), tcp(*back)]
    assert without_noise(whole, PROBED) == []


def test_a_connection_without_data_to_a_probed_port_is_noise_if_the_node_opens_it() -> None:
    there, back = ((NODE, 40000), (POD, 8080)), ((POD, 8080), (NODE, 40000))
    assert without_noise([tcp(*there), tcp(*back, outgoing=False)], PROBED) == []
    assert without_noise([tcp(*there)], PROBED) == [], "not answered"
    forwarded = [tcp((OTHER, 40000), (POD, 8080), outgoing=False), tcp((OTHER, 40000), (POD, 8080))]
    assert without_noise(forwarded, PROBED) == forwarded
    asked = [tcp(*there), tcp(*there, b"GET /hostname HTTP/1.1\r\n")]
    assert without_noise(asked, PROBED) == asked, "a test asks from the node"
    elsewhere = [tcp((NODE, 40000), (POD, 9090))]
    assert without_noise(elsewhere, PROBED) == elsewhere
