"""Addresses, routes, rules and neighbours: the lab's on its own interfaces, and what others put there or elsewhere."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.objects import inet, kernel_routes, neighbours, other_routes, routing_rules
from nslab.objects import routes as objects_routes
from nslab.objects.interfaces import number
from nslab.objects.neighbours import NDA_DST, NDA_LLADDR, NTF_PROXY, NTF_SELF, NUD_NOARP, NUD_PERMANENT
from nslab.objects.unmanaged import Unmanaged
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.linux.observe.place import Found, ObservedNamespace
    from nslab.objects.base import KernelObject

_FAMILY = struct.Struct("=B11x")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE_SIZE = _RULE_SIZE = 12
_FRA_PROTOCOL = 21
_SCOPE_LINK, _SCOPE_HOST = 253, 254


def addresses(place: ObservedNamespace) -> Found:
    """Addresses, except those that the kernel assigns by itself."""
    bodies = _dumped_addresses(place)
    strange = [
        body for body in bodies if _is_strange(*_ADDRESS.unpack_from(body), theirs=_theirs(place), ours=place.devices)
    ]
    return inet.addresses_seen(place.ns, bodies, place.devices), _addresses(place, strange)


def _dumped_addresses(place: ObservedNamespace) -> list[bytes]:
    return [*netlink.dump(place.sock, wire.GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0))]


def _is_strange(
    family: int, _length: int, _flags: int, scope: int, index: int, *, theirs: set[int], ours: Iterable[int]
) -> bool:
    if index in theirs:
        return False
    if family == socket.AF_INET6:
        return scope not in (_SCOPE_LINK, _SCOPE_HOST)
    return index not in ours


def _addresses(place: ObservedNamespace, bodies: Iterable[bytes]) -> Iterator[Unmanaged]:
    for body in bodies:
        from nslab.linux.netlink import words

        text = words.address(body, place.names)
        yield Unmanaged(place.ns, f"address {text}", (f"ip addr del {text}",))


def routes(place: ObservedNamespace) -> Found:
    """Routes of every type and table; of those that the kernel adds by itself, the missing ones."""
    own = _dumped_addresses(place)
    bodies = [*netlink.dump(place.sock, wire.GETROUTE, _FAMILY.pack(0))]
    have, others = objects_routes.routes_seen(place.ns, bodies, place.devices)
    gone = kernel_routes.missing_routes(place.ns, own, bodies, place.interfaces, place.devices)
    mine: list[KernelObject] = [*have, *gone]
    strange = []
    for body in others:
        if number(wire.attributes(body, _ROUTE_SIZE).get(wire.RTA_OIF)) in _theirs(place):
            continue
        from nslab.linux.netlink import words

        text = words.route(body, place.names)
        # In the main table and on the lab's interfaces, it takes the place of the lab's.
        if found := other_routes.in_main_table(place.ns, body, text, place.devices):
            mine.append(found)
        else:
            ip = "ip -6" if _is_ipv6(body) else "ip"
            strange.append(Unmanaged(place.ns, f"route {text}", (f"{ip} route del {text}",)))
    return mine, strange


def rules(place: ObservedNamespace) -> Found:
    """Routing rules, except those that every namespace begins with; of these, the missing ones.

    One that somebody deleted and added again is the same, although the kernel notes another author.
    """
    there = {_without_author(body): body for body in policy_rules(place.sock)}
    fresh = {_without_author(body): body for body in place.fresh.rules}
    gone = [body for rule, body in fresh.items() if rule not in there]
    strange = [body for rule, body in there.items() if rule not in fresh]
    if not gone and not strange:
        return (), ()
    from nslab.linux.netlink import words

    return (
        [routing_rules.deleted(place.ns, body, words.rule(body), ipv6=_is_ipv6(body)) for body in gone],
        [_rule(place, words.rule(body), ipv6=_is_ipv6(body)) for body in strange],
    )


def _without_author(body: bytes) -> tuple[object, ...]:
    return body[:_RULE_SIZE], *(one for one in wire.each_attribute(body, _RULE_SIZE) if one[0] != _FRA_PROTOCOL)


def policy_rules(sock: socket.socket) -> list[bytes]:
    """The kernel's messages of all routing rules, of every family."""
    return [*netlink.dump(sock, wire.GETRULE, _FAMILY.pack(0))]


def _rule(place: ObservedNamespace, text: str, *, ipv6: bool) -> Unmanaged:
    ip = "ip -6" if ipv6 else "ip"
    return Unmanaged(place.ns, f"{'IPv6 ' * ipv6}routing rule {text}", (f"{ip} rule del {text}",))


def _is_ipv6(body: bytes) -> bool:
    return body[0] == socket.AF_INET6


def neighbour_entries(place: ObservedNamespace) -> Found:
    """Neighbour entries that somebody added; not those that the kernel learns."""
    bodies = [*netlink.dump(place.sock, wire.GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0))]
    proxied = netlink.dump(place.sock, wire.GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, NTF_PROXY, 0))
    strange = [*(body for body in bodies if _is_given(place, body)), *proxied]
    return neighbours.neighbours_seen(place.ns, bodies, place.devices), _neighbours(place, strange)


def _is_given(place: ObservedNamespace, body: bytes) -> bool:
    family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    mine = family == socket.AF_INET and index in place.devices
    return state == NUD_PERMANENT and not mine and index not in _theirs(place)


def _neighbours(place: ObservedNamespace, bodies: Iterable[bytes]) -> Iterator[Unmanaged]:
    for body in bodies:
        from nslab.linux.netlink import words

        text, ip = words.neighbour(body, place.names), "ip -6" if _is_ipv6(body) else "ip"
        yield Unmanaged(place.ns, f"neighbour {text}", (f"{ip} neigh del {text.partition(' nud ')[0]}",))


def forwarding_entries(place: ObservedNamespace) -> Found:
    """Forwarding entries that somebody added; not those that bridges learn, nor interfaces' own addresses."""
    kinds = {link.kind for link in place.interfaces.values()}
    if not kinds & {"bridge", "vxlan"}:
        return (), ()
    bodies = [*netlink.dump(place.sock, wire.GETNEIGH, _NEIGHBOUR.pack(neighbours.AF_BRIDGE, 0, 0, 0, 0))]
    have = [*neighbours.forwarding_seen(place.ns, bodies, place.devices)]
    own = {link.mac for link in place.interfaces.values()}
    return have, [entry for body in bodies if (entry := _forwarding(place, body, own))]


def _forwarding(place: ObservedNamespace, body: bytes, own: set[str]) -> Unmanaged | None:
    _, index, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    attrs = wire.attributes(body, _NEIGHBOUR.size)
    mac, dev = attrs[NDA_LLADDR].hex(":"), place.names.get(index, "")
    learned = not state & (NUD_PERMANENT | NUD_NOARP)
    if learned or NDA_DST in attrs or mac in own or attrs[NDA_LLADDR][0] & 1 or index in _theirs(place):
        return None
    text = f"{mac} dev {dev} {'self' if flags & NTF_SELF else 'master'}"
    return Unmanaged(place.ns, f"FDB entry {text}", (f"bridge fdb del {text}",))


def _theirs(place: ObservedNamespace) -> set[int]:
    """The interfaces that CNI plugins made; the plugins manage what lies on them."""
    return {place.interfaces[name].index for name in place.plugins - place.ours if name in place.interfaces}
