"""Route lookups in the kernel's routing table, over netlink."""

from __future__ import annotations

import socket
import struct

from nslab.components.runtime.loop import AT_ONCE
from nslab.wire import netlink


class Routes:
    """The IPv4 routes of this network namespace. The socket `events` becomes readable when one changes."""

    def __init__(self) -> None:
        self._ask = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._ask.bind((0, 0))
        self.events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self.events.bind((0, netlink.RTMGRP_IPV4_ROUTE))

    def gateway(self, to: bytes, device: int) -> str | None:
        """The next hop for `to` (4 bytes): the gateway of the route through `device`, if there is one."""
        head = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
        request = head + netlink.attribute(netlink.RTA_DST, to) + netlink.u32(netlink.RTA_OIF, device)
        self._ask.send(netlink.message(netlink.GETROUTE, 0, request))
        kind, _, body = next(netlink.messages(self._ask.recv(1 << 14)))
        if kind == netlink.NLMSG_ERROR:
            return None
        found = netlink.attributes(body, len(head))
        if netlink.RTA_GATEWAY not in found or struct.unpack("=I", found[netlink.RTA_OIF])[0] != device:
            return None
        return socket.inet_ntoa(found[netlink.RTA_GATEWAY])

    def drain(self) -> None:
        """Read all pending events. An overflow of the socket's buffer (ENOBUFS) counts as an event, too."""
        for _ in range(AT_ONCE):
            try:
                self.events.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                continue
