"""The stand-in for the kernel's ipip driver: a process behind a TUN device named as the driver's would be.

A packet that the kernel routes into the device is put into another one of IP protocol 4, addressed to the gateway of
the route that brought it here; one of protocol 4 that comes for us is taken out. TUN hands over the inner packet alone,
not the route, so the kernel's table is asked (and a wrong route goes as wrong as with the driver).
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
BATCH = 64  # packets of one direction before the other has its turn
BUFFERS = 4 << 20
HEADER = 20


def start(
    context: NodeContext, memory: Memory, births: Births, ns: str, dev: str, local: str, clean: Callable[[], None]
) -> int:
    """Fork the process behind `dev` in a node's namespace; its number."""
    with context.away(NET):
        context.enter(ns)
        # Opened here, so that what the kernel refuses is answered to who asked.
        ends = open_ends(dev, local)

        def child() -> None:
            memory.show(memory.process_title(f"nslab-tunnel {dev}", {VARIABLE: mark(ns, "tunnel")}))
            clean()
            os.setsid()
            # Not the node's socket, above all: who connects to it when the node's process is dead must be refused.
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
    """The two ends: the TUN device, and the raw socket, which receives nothing that is not addressed to `local`."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", dev.encode(), IFF_TUN | IFF_NO_PI))
    wire = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    for option in (33, 32):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE: beyond what sysctl allows to everybody
        with contextlib.suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, option, BUFFERS)
    wire.bind((local, 0))
    return tun, wire


def serve(dev: str, tun: int, wire: socket.socket) -> Never:
    """Carry packets both ways, for ever."""
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
        """A route changed: what we know of next hops is worth nothing."""
        self.routes.drain()
        self._hops.clear()

    def turn(self) -> None:
        """Encapsulate what waits in the device."""
        buffer, hops, tun, send = self._buffer, self._hops, self._tun, self._wire.sendto
        view = memoryview(buffer)
        inner = [view[HEADER:]]
        for _ in range(BATCH):
            try:
                size = os.readv(tun, inner)
            except BlockingIOError:
                return
            if buffer[20] >> 4 != 4:
                continue  # IPv6 neighbour discovery and the like: the driver carries IPv4 alone
            to = bytes(buffer[36:40])
            if to not in hops:
                self._learn(to)
            found = hops[to]
            if found is None:
                continue
            buffer[16:20], hop = found
            # As the driver with `ttl inherit nopmtudisc` (tunl0): TTL and DF are the inner packet's, and so is ECN.
            buffer[1] = buffer[21] & 3
            buffer[6] = buffer[26] & DF
            buffer[8] = buffer[28]
            try:
                send(view[: HEADER + size], hop)
            except OSError as error:
                # No route to the hop, or the queue is full: packets get lost in networks. Of one that is too large,
                # the driver tells who sent it.
                if error.errno == errno.EMSGSIZE and buffer[26] & DF:
                    self._too_big.answer(bytes(view[HEADER : HEADER + size]), HEADER, hop[0])

    def _learn(self, to: bytes) -> None:
        if len(self._hops) > 65536:
            self._hops.clear()
        # Without a gateway the driver would send to the inner destination: into itself, as a rule. It drops those.
        gateway = self.routes.gateway(to, self._device)
        self._hops[to] = (socket.inet_aton(gateway), (gateway, 0)) if gateway else None


def decapsulate(tun: int, wire: socket.socket) -> None:
    """From the wire to the device. A raw socket gives the outer header too; the kernel has put fragments together."""
    for _ in range(BATCH):
        try:
            packet = wire.recv(1 << 16)
        except BlockingIOError:
            return
        start = (packet[0] & 15) * 4
        if len(packet) >= start + HEADER and packet[start] >> 4 == 4:
            with contextlib.suppress(OSError):  # the device is down, or the packet is none
                os.write(tun, memoryview(packet)[start:])


if __name__ == "__main__":
    serve(sys.argv[1], *open_ends(sys.argv[1], sys.argv[2]))
