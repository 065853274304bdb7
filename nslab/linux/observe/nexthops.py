"""Nexthop objects, which several routes can share (ip-nexthop(8)). No lab makes any."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.objects.interfaces import number
from nslab.objects.unmanaged import Unmanaged
from nslab.wire.netlink import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.observe.place import Found, ObservedNamespace

_GETNEXTHOP = 106
_HEADER = 8
_ID, _GROUP, _BLACKHOLE, _OIF, _GATEWAY = 1, 2, 4, 5, 6
_MEMBER = struct.Struct("=IBxxx")
"""struct nexthop_grp: number, weight."""


def nexthops(place: ObservedNamespace) -> Found:
    """All of a namespace; groups first, since they go with their last member."""
    try:
        found = [attributes(body, _HEADER) for body in netlink.dump(place.sock, _GETNEXTHOP, bytes(_HEADER))]
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return (), ()
    found.sort(key=lambda one: _GROUP not in one)
    return (), [_nexthop(place, one) for one in found]


def _nexthop(place: ObservedNamespace, found: dict[int, bytes]) -> Unmanaged:
    which = f"id {number(found[_ID])}"
    return Unmanaged(place.ns, " ".join(("nexthop", which, *_way(place, found))), (f"ip nexthop del {which}",))


def _way(place: ObservedNamespace, found: dict[int, bytes]) -> Iterator[str]:
    if _GROUP in found:
        yield f"group {'/'.join(str(member) for member, _ in _MEMBER.iter_unpack(found[_GROUP]))}"
    if _GATEWAY in found:
        yield f"via {ip_address(found[_GATEWAY])}"
    if _BLACKHOLE in found:
        yield "blackhole"
    if _OIF in found:
        yield f"dev {place.names.get(number(found[_OIF]), '')}"
