"""What hosts of a lab answer when they are asked how they would send a packet, as `ip route get` asks."""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.linux.netlink import batch
from nslab.objects.names import netns
from nslab.objects.neighbours import NDA_DST, NUD_NOARP
from nslab.objects.routes import route_author, route_destination
from nslab.trace.hops import BLACKHOLE, NO_FORWARDING, NO_FORWARDING_THERE, NO_ROUTE, PROHIBITED, RP_FILTER, UNREACHABLE
from nslab.trace.observed import RouteTaken
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.linux.netns import Namespaces
    from nslab.trace.observed import RouteQuestion

_ROUTE = struct.Struct("=BBBBBBBBI")
_FIB_MATCH = 0x2000
_SRC, _IIF, _MARK, _PROTOCOL, _SPORT, _DPORT = 2, 3, 16, 27, 28, 29
_ONLINK = 4
_GETNETCONF, _IFINDEX, _FORWARDING, _EVERY = 82, 1, 2, -1
"""Of a host's settings by interface (include/uapi/linux/netconf.h)."""
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_LLADDR = 2
_REACHABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}


def routes_taken(spaces: Namespaces, lab: str, questions: Iterable[RouteQuestion]) -> dict[RouteQuestion, RouteTaken]:
    """The answer to each question."""
    devices: dict[str, dict[str, int]] = {}
    answers = {}
    for question in questions:
        ns = netns(lab, question.host)
        sock = spaces.route_socket(ns)
        if ns not in devices:
            devices[ns] = batch.links(sock)
        answers[question] = _with_mac(sock, _asked(sock, question, devices[ns]), question, devices[ns])
    return answers


def _asked(sock: socket.socket, question: RouteQuestion, devices: Mapping[str, int]) -> RouteTaken:
    header = question.header
    given = wire.attribute(wire.RTA_DST, header.target.packed)
    if question.iif:
        given += wire.attribute(_SRC, header.source.packed) + wire.u32(_IIF, devices.get(question.iif, 0))
    if question.mark:
        given += wire.u32(_MARK, question.mark)
    if header.protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        given += wire.attribute(_PROTOCOL, bytes([header.protocol]))
        given += wire.attribute(_SPORT, struct.pack(">H", header.ports[0]))
        given += wire.attribute(_DPORT, struct.pack(">H", header.ports[1]))
    body = _ROUTE.pack(socket.AF_INET, 32, 32 if question.iif else 0, 0, 0, 0, 0, 0, _FIB_MATCH)
    sock.sendall(wire.numbered(wire.message(wire.GETROUTE, 0, body + given), 1))
    for kind, _, answer in wire.messages(sock.recv(1 << 16)):
        if kind == wire.NLMSG_ERROR:
            number = -struct.unpack_from("=i", answer)[0]
            closed = _closed(sock, devices.get(question.iif, 0)) if number == errno.EHOSTUNREACH else ""
            return RouteTaken(error=closed or _ERRORS.get(number, os.strerror(number)))
        return _route(answer, {index: name for name, index in devices.items()})
    return RouteTaken()


_ERRORS = {
    errno.EXDEV: RP_FILTER,
    errno.EINVAL: BLACKHOLE,
    errno.EACCES: PROHIBITED,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: NO_ROUTE,
}
"""How the kernel refuses a look-up (fib_semantics.c, route.c), in words."""


def _closed(sock: socket.socket, device: int) -> str:
    """Why a host does not forward what comes in at an interface; "" if it does. The kernel has one error for both."""
    if not device or _forwards(sock, device):
        return ""
    return NO_FORWARDING_THERE if _forwards(sock, _EVERY) else NO_FORWARDING


def _forwards(sock: socket.socket, device: int) -> bool:
    """An interface's sysctl `forwarding`; of `_EVERY`, ip_forward."""
    asked = bytes([socket.AF_INET]) + bytes(3) + struct.pack("=HHi", 8, _IFINDEX, device)
    sock.sendall(wire.numbered(wire.message(_GETNETCONF, 0, asked), 1))
    kind, _, answer = next(wire.messages(sock.recv(1 << 16)))
    return kind == wire.NLMSG_ERROR or _number(wire.attributes(answer, 4).get(_FORWARDING)) != 0


def _route(body: bytes, names: Mapping[int, str]) -> RouteTaken:
    _, length, _, _, table, protocol, _, kind, flags = _ROUTE.unpack_from(body)
    found = wire.attributes(body, _ROUTE.size)
    via = found.get(wire.RTA_GATEWAY)
    return RouteTaken(
        kind=_KINDS.get(kind, str(kind)),
        to=route_destination(found, length),
        via=IPv4Address(via) if via else None,
        dev=names.get(_number(found.get(wire.RTA_OIF)), ""),
        protocol=route_author(protocol),
        table=_number(found.get(wire.RTA_TABLE)) or table,
        onlink=bool(flags & _ONLINK),
    )


def _number(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value else 0


def _with_mac(
    sock: socket.socket, route: RouteTaken, question: RouteQuestion, devices: Mapping[str, int]
) -> RouteTaken:
    if not route.dev or route.kind != "unicast":
        return route
    hop, device = (route.via or question.header.target).packed, devices.get(route.dev, 0)
    with suppress(OSError):
        for body in batch.dump(sock, wire.GETNEIGH, _NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0)):
            _, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
            known = wire.attributes(body, _NEIGHBOUR.size)
            if index == device and known.get(NDA_DST) == hop and state & (_REACHABLE & ~NUD_NOARP):
                return replace(route, mac=known.get(_LLADDR, b"").hex(":"))
    return route
