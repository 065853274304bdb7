"""The packets of one test: a packet socket on each node and router, filled by the kernel, read only after a failure.

No program runs meanwhile, so a passing test pays almost nothing. The pcap files have the link type of
`tcpdump -i any`, for Wireshark.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from nslab.errors import NslabError
from nslab.linux.netns import Namespaces, path
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_BUFFER = 4 << 20
"""Bytes that the kernel queues for a node, including its overhead: some thousand packets of a request's size."""
_LENGTH = 256
"""Bytes to keep of each packet."""
_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_OUTGOING = 4
_FILE = struct.Struct("<IHHiIII")
_MAGIC, _LINUX_SLL2 = 0xA1B23C4D, 276
"""The magic number of a file with nanosecond timestamps, and the link type of its packets (pcap-linktype(7))."""
_RECORD = struct.Struct("<IIII")
_SLL2 = struct.Struct("!HHIHBB8s")


class _Node(NamedTuple):
    """A node's socket, the inode of its namespace, and the packets read from it."""

    socket: socket.socket
    inode: int
    packets: list[Packet]


class Packet(NamedTuple):
    """A packet: its first bytes, its whole length, its time, and its address as the kernel reports it."""

    kept: bytes
    length: int
    time: bytes
    sender: tuple[str, int, int, int, bytes]

    @property
    def protocol(self) -> int:
        """Its EtherType."""
        return self.sender[1]

    @property
    def outgoing(self) -> bool:
        """Whether it leaves by the interface."""
        return self.sender[2] == _OUTGOING


class Captured(NamedTuple):
    """The packets on a node; `numbers`: the ifindex of each of its interfaces."""

    node: str
    packets: list[Packet]
    numbers: Mapping[str, int]

    def pcap(self, packets: Iterable[Packet]) -> bytes:
        """Return some of its packets as a pcap file."""
        records = b"".join(_record(packet, self.numbers) for packet in packets)
        return _FILE.pack(_MAGIC, 2, 4, 0, 0, _LENGTH, _LINUX_SLL2) + records


class Capture:
    """The packets on the nodes of a lab since the last `start`."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._nodes: dict[str, _Node] = {}

    def start(self) -> None:
        """Capture on all interfaces of all existing nodes and routers; drops earlier packets."""
        with Namespaces() as spaces, contextlib.suppress(NslabError):
            lab = stored_lab(self._lab)
            for host in (*(node.name for node in lab.nodes), *(router.name for router in lab.routers)):
                with contextlib.suppress(OSError):  # the test has removed the host
                    self._start(spaces, host)

    def _start(self, spaces: Namespaces, host: str) -> None:
        ns = netns(self._lab, host)
        inode = os.stat(path(ns)).st_ino
        known = self._nodes.get(host)
        if known and known.inode == inode:
            # Drained instead of closed: closing a packet socket waits for an RCU grace period on all processors.
            for _ in _captured(known.socket):
                continue
            known.packets.clear()
        else:
            if known:
                known.socket.close()
            spaces.enter(ns)
            self._nodes[host] = _Node(_opened(), inode, [])

    def close(self) -> None:
        """Close the sockets: an open one keeps its namespace alive."""
        for node in self._nodes.values():
            node.socket.close()
        self._nodes.clear()

    def captured(self) -> Iterator[Captured]:
        """Yield each node with packets, while this thread is in the node's namespace."""
        with Namespaces() as spaces:
            for name, node in self._nodes.items():
                numbers: dict[str, int] = {}
                with contextlib.suppress(OSError):
                    spaces.enter(netns(self._lab, name))  # ifindexes are per namespace
                    # All at once: looking up a name that has gone would make the kernel request a module.
                    numbers = {interface: number for number, interface in socket.if_nameindex()}
                node.packets.extend(_captured(node.socket))
                if node.packets:
                    yield Captured(name, node.packets, numbers)


def _opened() -> socket.socket:
    """Open a packet socket for all interfaces of this thread's namespace."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return sock


def _captured(sock: socket.socket) -> Iterator[Packet]:
    """Read the packets that wait in a socket."""
    packet, room = bytearray(_LENGTH), socket.CMSG_SPACE(16)
    with contextlib.suppress(BlockingIOError):
        while True:
            # MSG_TRUNC: recvmsg returns the packet's whole length.
            length, ancillary, _, sender = sock.recvmsg_into([packet], room, socket.MSG_TRUNC)
            interface, _, way, *_ = sender
            if interface != "lo" or way != _OUTGOING:  # there, it comes in again at once
                yield Packet(bytes(packet[:length]), length, ancillary[0][2], sender)


def _record(packet: Packet, numbers: Mapping[str, int]) -> bytes:
    """Return a packet as a record of the file."""
    interface, protocol, way, hardware, address = packet.sender
    head = _SLL2.pack(protocol, 0, numbers.get(interface, 0), hardware, way, len(address), address[:8])
    seconds, nanoseconds = struct.unpack("qq", packet.time)
    return _RECORD.pack(seconds, nanoseconds, len(head + packet.kept), len(head) + packet.length) + head + packet.kept
