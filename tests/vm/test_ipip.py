"""The real ipip driver carries packets as IP protocol 4."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab import syscall

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT, RIGHT = "nslab.vmtest.left", "nslab.vmtest.right"
IPPROTO_ICMP, IPPROTO_IPIP = 1, 4

TOPOLOGY = f"""
netns add {LEFT}
netns add {RIGHT}
-n {LEFT} link add eth0 type veth peer name eth0 netns {RIGHT}
-n {LEFT} address add 192.168.59.22/24 dev eth0
-n {RIGHT} address add 192.168.59.23/24 dev eth0
-n {LEFT} address add 20.111.156.1/32 dev tunl0
-n {RIGHT} address add 20.109.131.1/32 dev tunl0
-n {LEFT} link set eth0 up
-n {RIGHT} link set eth0 up
-n {LEFT} link set tunl0 mtu 1480 up
-n {RIGHT} link set tunl0 mtu 1480 up
-n {LEFT} route add 20.109.131.0/26 via 192.168.59.23 dev tunl0 onlink
-n {RIGHT} route add 20.111.156.0/26 via 192.168.59.22 dev tunl0 onlink
"""


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True)


@pytest.fixture
def tunnel() -> Iterator[None]:
    """Two namespaces, a cable between them, and the tunnel's ends that the driver put into each."""
    try:
        for line in TOPOLOGY.strip().splitlines():
            ip(line)
        yield
    finally:
        for ns in (LEFT, RIGHT):
            ip(f"netns del {ns}")


def wire(ns: str) -> socket.socket:
    """A socket that sees what comes in on eth0 of `ns`."""
    here = open("/proc/thread-self/ns/net")  # noqa: SIM115
    with here, open(f"/run/netns/{ns}") as there:
        syscall.setns(there.fileno(), syscall.CLONE_NEWNET)
        try:
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            packets.bind(("eth0", 0x0800))
            return packets
        finally:
            syscall.setns(here.fileno(), syscall.CLONE_NEWNET)


def test_pings_travel_as_protocol_4(tunnel: None) -> None:
    with wire(RIGHT) as packets:
        ping = f"ip netns exec {LEFT} ping -c 2 -i 0.2 -W 5 -s 1400 20.109.131.1"
        output = subprocess.run(ping.split(), capture_output=True, text=True, check=False)
        assert "2 received" in output.stdout, output

        seen = []
        while select.select([packets], [], [], 0)[0]:
            outer = packets.recv(65535)
            seen.append((outer[9], outer[12:16], outer[20 + 9], struct.unpack(">H", outer[2:4])[0]))
    # From node to node protocol 4; inside it ICMP; 20 bytes of outer header before 1400 + 8 + 20.
    sender = socket.inet_aton("192.168.59.22")
    assert seen[:2] == [(IPPROTO_IPIP, sender, IPPROTO_ICMP, 1448)] * 2
