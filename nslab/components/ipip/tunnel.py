"""The stand-in for the kernel's ipip driver: a process behind a TUN device with the name of the driver's device.

It encapsulates each packet that the kernel routes into the device in IP protocol 4, addressed to the gateway of that
route, and decapsulates packets of protocol 4 for this node. TUN delivers only the inner packet and not its route, so
the process looks the route up (and a wrong route fails in the same way as with the driver).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys

from nslab.components.ipip.frag_needed import DF, FragmentationNeeded
from nslab.components.ipip.routes import Routes
from nslab.components.runtime.loop import Loop
from nslab.components.runtime.node_context import NET, NodeContext
from nslab.runtime.marks import VARIABLE, Memory, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never

    from nslab.runtime.trust import Births

PROTOCOL = 4
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
BATCH = 64  # packets in one direction before the other gets its turn
BUFFERS = 4 << 20
HEADER = 20


def start(
    context: NodeContext, memory: Memory, births: Births, ns: str, dev: str, local: str, clean: Callable[[], None]
) -> int:
    """Fork the process behind `dev` in a node's namespace and return its pid."""
    with context.away(NET):
        context.enter(ns)
        # Opened before the fork, so that a refusal of the kernel becomes the answer to the request.
        ends = open_ends(dev, local)

        def child() -> None:
            memory.show(memory.process_title(f"nslab-tunnel {dev}", {VARIABLE: mark(ns, "tunnel")}))
            clean()
            os.setsid()
            # Above all the node's socket: once the node's process is dead, connections to it must be refused.
            low, high = sorted((ends[0], ends[1].fileno()))
            for first, end in ((3, low), (low + 1, high), (high + 1, 1 << 20)):
                os.closerange(first, end)
            try:
                serve(dev, *ends)
            except BaseException as error:
                os.write(2, f"nslab-tunnel {dev}: {error}\n".encode())
            os._exit(1)

        try:
            return births.fork(ns, "tunnel", child)
        finally:
            os.close(ends[0])
            ends[1].close()


def open_ends(dev: str, local: str) -> tuple[int, socket.socket]:
    """Open the TUN device, and the raw socket, which receives only packets to `local`."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", dev.encode(), IFF_TUN | IFF_NO_PI))
    wire = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    for option in (33, 32):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE: beyond net.core.{r,w}mem_max
        with contextlib.suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, option, BUFFERS)
    wire.bind((local, 0))
    return tun, wire


def serve(dev: str, tun: int, wire: socket.socket) -> Never:
    """Carry packets both ways; never returns."""
    out = Encapsulator(dev, tun, wire)
    loop = Loop()
    loop.watch(out.routes.events.fileno(), out.forget)
    loop.watch(tun, out.turn)
    loop.watch(wire.fileno(), lambda: decapsulate(tun, wire))
    while True:
        loop.turn()


class Encapsulator:
    """From the device to the wire."""

    def __init__(self, dev: str, tun: int, wire: socket.socket) -> None:
        self.routes = Routes()
        self._too_big = FragmentationNeeded()
        self._tun, self._wire = tun, wire
        self._device = socket.if_nametoindex(dev)
        self._hops: dict[bytes, tuple[bytes, tuple[str, int]] | None] = {}
        self._buffer = bytearray(1 << 16)
        source = socket.inet_aton(wire.getsockname()[0])
        # Version and length, …, protocol, …, source. The kernel fills in total length, identification and checksum.
        self._buffer[:HEADER] = struct.pack("!BBHHHBBH4s4x", 0x45, 0, 0, 0, 0, 0, PROTOCOL, 0, source)

    def forget(self) -> None:
        """Flush the cached next hops after a change of routes."""
        self.routes.drain()
        self._hops.clear()

    def turn(self) -> None:
        """Encapsulate the packets that wait in the device."""
        buffer, hops, tun, send = self._buffer, self._hops, self._tun, self._wire.sendto
        view = memoryview(buffer)
        inner = [view[HEADER:]]
        for _ in range(BATCH):
            try:
                size = os.readv(tun, inner)
            except BlockingIOError:
                return
            if buffer[20] >> 4 != 4:
                continue  # IPv6 neighbour discovery and the like: the driver carries IPv4 only
            to = bytes(buffer[36:40])
            if to not in hops:
                self._learn(to)
            found = hops[to]
            if found is None:
                continue
            buffer[16:20], hop = found
            # Like the driver with `ttl inherit nopmtudisc` (tunl0): TTL, DF and ECN come from the inner packet.
            buffer[1] = buffer[21] & 3
            buffer[6] = buffer[26] & DF
            buffer[8] = buffer[28]
            try:
                send(view[: HEADER + size], hop)
            except OSError as error:
                # Without a route to the hop, or with a full queue, the packet is lost. For one that is too large, the
                # driver notifies its sender.
                if error.errno == errno.EMSGSIZE and buffer[26] & DF:
                    self._too_big.answer(bytes(view[HEADER : HEADER + size]), HEADER, hop[0])

    def _learn(self, to: bytes) -> None:
        if len(self._hops) > 65536:
            self._hops.clear()
        # Without a gateway the driver would send to the inner destination, usually into itself; it drops the packet.
        gateway = self.routes.gateway(to, self._device)
        self._hops[to] = (socket.inet_aton(gateway), (gateway, 0)) if gateway else None


def decapsulate(tun: int, wire: socket.socket) -> None:
    """From the wire to the device. A raw socket delivers the outer header, too, and fragments reassembled."""
    for _ in range(BATCH):
        try:
            packet = wire.recv(1 << 16)
        except BlockingIOError:
            return
        start = (packet[0] & 15) * 4
        if len(packet) >= start + HEADER and packet[start] >> 4 == 4:
            with contextlib.suppress(OSError):  # the device is down, or the packet is malformed
                os.write(tun, memoryview(packet)[start:])


if __name__ == "__main__":
    serve(sys.argv[1], *open_ends(sys.argv[1], sys.argv[2]))
