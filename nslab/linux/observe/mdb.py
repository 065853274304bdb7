"""Multicast groups that somebody gave a bridge's ports (bridge(8), mdb), beside those that it learns from queries."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.objects.unmanaged import Unmanaged
from nslab.quote import fill
from nslab.wire.netlink import each_attribute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.observe.place import Found, ObservedNamespace

_GETMDB, _FAMILY_BRIDGE = 86, 7
_BRIDGE = struct.Struct("=BxxxI")
"""struct br_port_msg: family, bridge."""
_ENTRY = struct.Struct("=IBBH16sH")
"""struct br_mdb_entry: port, state, flags, VLAN, group, protocol."""
_MDB = _MDB_ENTRY = _MDB_ENTRY_INFO = 1
_PERMANENT = 1
_SIZES = {0x0800: 4, 0x86DD: 16}


def entries(place: ObservedNamespace) -> Found:
    """The permanent ones."""
    if not any(link.kind == "bridge" for link in place.interfaces.values()):
        return (), ()
    return (), [*_entries(place)]


def _entries(place: ObservedNamespace) -> Iterator[Unmanaged]:
    for body in netlink.dump(place.sock, _GETMDB, _BRIDGE.pack(_FAMILY_BRIDGE, 0)):
        bridge = place.names.get(_BRIDGE.unpack_from(body)[1], "")
        for info in _nested(body[_BRIDGE.size :], _MDB, _MDB_ENTRY, _MDB_ENTRY_INFO):
            port, state, _, vlan, group, protocol = _ENTRY.unpack_from(info)
            if state == _PERMANENT:
                where = fill("dev {} port {} grp {}", bridge, place.names.get(port, ""), _group(group, protocol))
                words = where + (f" vid {vlan}" if vlan else "")
                yield Unmanaged(place.ns, f"multicast group {words}", (f"bridge mdb del {words}",))


def _nested(data: bytes, *kinds: int) -> Iterator[bytes]:
    """What stands in attributes of these kinds, one in the other; each may occur several times."""
    if not kinds:
        yield data
        return
    for kind, value in each_attribute(data):
        if kind == kinds[0]:
            yield from _nested(value, *kinds[1:])


def _group(group: bytes, protocol: int) -> str:
    size = _SIZES.get(socket.ntohs(protocol), 0)
    return str(ip_address(group[:size])) if size else group[:6].hex(":")
