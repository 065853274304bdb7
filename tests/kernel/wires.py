"""What is on a wire of a lab: calls to Pod B of calico-cross-subnet, bare or wrapped; and a lab with a narrow link."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias

from nslab import syscall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.pytest_plugin.running import RunningLab

IPIP, TCP, UDP = 4, 6, 17
PORT, VXLAN_PORT = 8080, 4789
POD_B, POD_D, POD_E = "20.111.156.7", "20.109.131.3", "20.108.66.68"
NODE1, NODE2, NODE3 = "192.168.59.22", "192.168.59.23", "192.168.60.24"
BARE_D, BARE_E = (TCP, POD_D, POD_B), (TCP, POD_E, POD_B)
Packet: TypeAlias = tuple[int, str, str]
"""Protocol, source and destination of an IPv4 header."""
CHAIN = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: chain}
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
"""Three subnets in a row; the ends of the middle one's cables are `_NARROW`."""
_NARROW = (("r1", "eth1"), ("r2", "eth0"), ("switch", "r1.eth1"), ("switch", "r2"))


def narrowed(lab: RunningLab) -> Callable[..., str]:
    """Let no more than 1,400 bytes pass through the middle of `CHAIN`; what pings from one end to the other."""
    for host, dev in _NARROW:
        lab.sh(host, f"ip link set {dev} mtu 1400")
    sender, target = lab.pod("pod-e"), str(lab.pod("pod-a").address)

    def ping(*options: str) -> str:
        return sender.run("ping", "-c", "1", "-W", "1", *options, target, check=False).stdout

    return ping


@contextmanager
def listening(lab: RunningLab, host: str, dev: str) -> Iterator[socket.socket]:
    """What comes in and goes out on an interface."""
    here = open("/proc/thread-self/ns/net")  # noqa: SIM115
    with here, open(f"/run/netns/nslab.{lab.name}.{host}") as there:
        syscall.setns(there.fileno(), syscall.CLONE_NEWNET)
        try:
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
            packets.bind((dev, 3))
        finally:
            syscall.setns(here.fileno(), syscall.CLONE_NEWNET)
    with packets:
        yield packets


def heard(packets: socket.socket) -> set[Packet]:
    """The packets of a call towards Pod B: bare ones for its port, and those that go around others to its node."""
    found = set()
    while select.select([packets], [], [], 0)[0]:
        packet, (_, ethertype, *_) = packets.recvfrom(65535)
        if ethertype == 0x0800:
            kind, source, target = packet[9], socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            to = struct.unpack_from("!H", packet, (packet[0] & 15) * 4 + 2)[0] if kind in (TCP, UDP) else 0
            wraps = target == NODE1 and (kind == IPIP or (kind, to) == (UDP, VXLAN_PORT))
            if wraps or (kind, target, to) == (TCP, POD_B, PORT):
                found.add((kind, source, target))
    return found


def during_a_call(lab: RunningLab, asker: str, *wires: tuple[str, str]) -> list[set[Packet]]:
    """What each wire carries towards Pod B while a pod asks it something."""
    with ExitStack() as stack:
        ends = [stack.enter_context(listening(lab, *wire)) for wire in wires]
        assert lab.pod(asker).http(f"{POD_B}:{PORT}/hostname").text == "pod-b"
        # Its last packet goes when it is over already: it is not to be heard in the call after this one.
        lab.wait(lambda: not lab.sh(asker, f"ss -Htan exclude time-wait dst {POD_B}"))
        return [heard(packets) for packets in ends]
