"""The packets of one test: a packet socket on each node and router, filled by the kernel, read if the test failed.

No program runs meanwhile, so a test that passes pays next to nothing. What is shown is written as tcpdump writes what
it captures on all interfaces (`-i any`), for Wireshark.
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
"""Bytes that the kernel keeps of a node's packets, with its own bookkeeping: some thousands of a request's size."""
_LENGTH = 256
"""Bytes that are shown of a packet."""
_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_OUTGOING = 4
_FILE = struct.Struct("<IHHiIII")
_MAGIC, _LINUX_SLL2 = 0xA1B23C4D, 276
"""A file whose times are in nanoseconds; and what stands before each packet in it (pcap-linktype(7))."""
_RECORD = struct.Struct("<IIII")
_SLL2 = struct.Struct("!HHIHBB8s")


class _Node(NamedTuple):
    """A node's socket, the namespace that it was made in, and what was read from it."""

    socket: socket.socket
    inode: int
    packets: list[Packet]


class Packet(NamedTuple):
    """What the kernel says of one: its beginning, its whole length, when, and by which interface it came or went."""

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


class Heard(NamedTuple):
    """What a node heard; `numbers`: its interfaces'."""

    node: str
    packets: list[Packet]
    numbers: Mapping[str, int]

    def pcap(self, packets: Iterable[Packet]) -> bytes:
        """Some of its packets as a pcap file."""
        records = b"".join(_record(packet, self.numbers) for packet in packets)
        return _FILE.pack(_MAGIC, 2, 4, 0, 0, _LENGTH, _LINUX_SLL2) + records


class Capture:
    """What passes the nodes of a lab, since the last `start`."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._nodes: dict[str, _Node] = {}

    def start(self) -> None:
        """Listen on all interfaces of every node and router that there is now; what was heard before is forgotten."""
        with Namespaces() as spaces, contextlib.suppress(NslabError):
            lab = stored_lab(self._lab)
            for host in (*(node.name for node in lab.nodes), *(router.name for router in lab.routers)):
                with contextlib.suppress(OSError):  # what a test has taken away says nothing
                    self._start(spaces, host)

    def _start(self, spaces: Namespaces, host: str) -> None:
        ns = netns(self._lab, host)
        inode = os.stat(path(ns)).st_ino
        known = self._nodes.get(host)
        if known and known.inode == inode:
            # Emptied, not closed: at the end of a packet socket the kernel waits for all of its processors.
            for _ in _heard(known.socket):
                continue
            known.packets.clear()
        else:
            if known:
                known.socket.close()
            spaces.enter(ns)
            self._nodes[host] = _Node(_listening(), inode, [])

    def close(self) -> None:
        """Let go: an open socket keeps a namespace from going."""
        for node in self._nodes.values():
            node.socket.close()
        self._nodes.clear()

    def heard(self) -> Iterator[Heard]:
        """What each node heard, if anything. This thread is in the node's namespace then."""
        with Namespaces() as spaces:
            for name, node in self._nodes.items():
                numbers: dict[str, int] = {}
                with contextlib.suppress(OSError):
                    spaces.enter(netns(self._lab, name))  # the numbers of interfaces mean nothing elsewhere
                    # Asked for all at once: for a name that is not there any more, the kernel would look for a module.
                    numbers = {interface: number for number, interface in socket.if_nameindex()}
                node.packets.extend(_heard(node.socket))
                if node.packets:
                    yield Heard(name, node.packets, numbers)


def _listening() -> socket.socket:
    """A socket that hears all of the namespace that this thread is in."""
    listening = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    listening.setblocking(False)
    listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    listening.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return listening


def _heard(listening: socket.socket) -> Iterator[Packet]:
    """The packets that wait in a socket."""
    packet, room = bytearray(_LENGTH), socket.CMSG_SPACE(16)
    with contextlib.suppress(BlockingIOError):
        while True:
            # MSG_TRUNC: what is returned is the packet's whole length.
            length, ancillary, _, sender = listening.recvmsg_into([packet], room, socket.MSG_TRUNC)
            interface, _, way, *_ = sender
            if interface != "lo" or way != _OUTGOING:  # there, it comes in again at once
                yield Packet(bytes(packet[:length]), length, ancillary[0][2], sender)


def _record(packet: Packet, numbers: Mapping[str, int]) -> bytes:
    """A packet as it stands in the file."""
    interface, protocol, way, hardware, address = packet.sender
    head = _SLL2.pack(protocol, 0, numbers.get(interface, 0), hardware, way, len(address), address[:8])
    seconds, nanoseconds = struct.unpack("qq", packet.time)
    return _RECORD.pack(seconds, nanoseconds, len(head + packet.kept), len(head) + packet.length) + head + packet.kept
