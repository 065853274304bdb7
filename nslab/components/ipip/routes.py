"""Asking the kernel's routing table by netlink: where would a packet go?"""

from __future__ import annotations

import socket
import struct

from nslab.components.runtime.loop import AT_ONCE

RTM_GETROUTE = 26
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RTMGRP_IPV4_ROUTE = 0x40


class Routes:
    """The IPv4 routes of this network namespace. The socket `events` becomes readable when one changes."""

    def __init__(self) -> None:
        self._ask = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._ask.bind((0, 0))
        self.events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self.events.bind((0, RTMGRP_IPV4_ROUTE))

    def gateway(self, to: bytes, device: int) -> str | None:
        """The next hop for `to` (4 bytes): the gateway of the route through `device`, if there is one."""
        attributes = struct.pack("=HH4sHHI", 8, RTA_DST, to, 8, RTA_OIF, device)
        body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0) + attributes
        self._ask.send(struct.pack("=IHHII", 16 + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0) + body)
        reply = self._ask.recv(1 << 14)
        if struct.unpack_from("=H", reply, 4)[0] == NLMSG_ERROR:
            return None
        found = dict(_attributes(reply[28 : struct.unpack_from("=I", reply)[0]]))
        if RTA_GATEWAY not in found or struct.unpack("=I", found[RTA_OIF])[0] != device:
            return None
        return socket.inet_ntoa(found[RTA_GATEWAY])

    def drain(self) -> None:
        """Take the events that are there. More than the socket could hold (ENOBUFS) is an event as well."""
        for _ in range(AT_ONCE):
            try:
                self.events.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                continue


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found.append((kind, data[4:length]))
        data = data[max(4, (length + 3) & ~3) :]
    return found
