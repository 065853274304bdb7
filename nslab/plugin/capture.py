"""The packets of one test: a packet socket on each node, filled by the kernel, and read only if the test failed.

No program runs meanwhile, so a test that passes pays next to nothing. What is shown is written as tcpdump writes what
it captures on all interfaces (`-i any`), for Wireshark.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nslab.errors import NslabError
from nslab.linux import lifecycle
from nslab.linux.netns import Namespaces, path
from nslab.net.names import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    packets: list[bytes]


class Capture:
    """What passes the nodes of a lab, since the last `start`."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._nodes: dict[str, _Node] = {}

    def start(self) -> None:
        """Listen on all interfaces of every node that there is now; what was heard before is forgotten."""
        with Namespaces() as spaces, contextlib.suppress(NslabError):
            for node in lifecycle.wished(self._lab).nodes:
                with contextlib.suppress(OSError):  # what a test has taken away says nothing
                    self._start(spaces, node.name)

    def _start(self, spaces: Namespaces, node: str) -> None:
        ns = netns(self._lab, node)
        inode = os.stat(path(ns)).st_ino
        known = self._nodes.get(node)
        if known and known.inode == inode:
            # Emptied, not closed: at the end of a packet socket the kernel waits for all of its processors.
            for _ in _heard(known.socket):
                continue
            known.packets.clear()
        else:
            if known:
                known.socket.close()
            spaces.enter(ns)
            self._nodes[node] = _Node(_listening(), inode, [])

    def close(self) -> None:
        """Let go: an open socket keeps a namespace from going."""
        for node in self._nodes.values():
            node.socket.close()
        self._nodes.clear()

    def files(self) -> Iterator[tuple[str, Path]]:
        """Each node that heard something, and the file in which it is. This thread is in the node's namespace then."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self._lab}-"))
        with Namespaces() as spaces:
            for name, node in self._nodes.items():
                with contextlib.suppress(OSError):
                    spaces.enter(netns(self._lab, name))  # the numbers of interfaces mean nothing elsewhere
                node.packets.extend(_heard(node.socket))
                file = folder / f"{name}.pcap"
                file.write_bytes(_FILE.pack(_MAGIC, 2, 4, 0, 0, _LENGTH, _LINUX_SLL2) + b"".join(node.packets))
                if node.packets:
                    yield name, file


def _listening() -> socket.socket:
    """A socket that hears all of the namespace that this thread is in."""
    listening = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    listening.setblocking(False)
    listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    listening.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return listening


def _heard(listening: socket.socket) -> Iterator[bytes]:
    """The packets that wait in a socket, each as a record of the file."""
    packet, room = bytearray(_LENGTH), socket.CMSG_SPACE(16)
    with contextlib.suppress(BlockingIOError):
        while True:
            # MSG_TRUNC: what is returned is the packet's whole length.
            length, told, _, sender = listening.recvmsg_into([packet], room, socket.MSG_TRUNC)
            interface, protocol, way, hardware, address = sender
            if interface == "lo" and way == _OUTGOING:
                continue  # it comes in again at once
            seconds, nanoseconds = struct.unpack("qq", told[0][2])
            head = _SLL2.pack(protocol, 0, _number(interface), hardware, way, len(address), address[:8])
            kept = bytes(packet[:length])
            yield _RECORD.pack(seconds, nanoseconds, len(head) + len(kept), len(head) + length) + head + kept


def _number(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0  # it is gone
