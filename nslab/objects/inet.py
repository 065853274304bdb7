"""Addresses, routes, neighbours, forwarding entries: the command that a person types, the message that says it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, TypeAlias, assert_never

from nslab.objects.kinds import Address, Blackhole, Fdb, Neighbour, Route
from nslab.objects.plan import Add, Remove, Replace
from nslab.quote import fill
from nslab.wire.netlink import (
    CREATE,
    DELADDR,
    DELNEIGH,
    DELROUTE,
    EXCL,
    NEWADDR,
    NEWNEIGH,
    NEWROUTE,
    REPLACE,
    attribute,
    mac_bytes,
    message,
    u32,
)

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from nslab.objects.links import Indexes
    from nslab.objects.plan import Step

Inet: TypeAlias = Address | Route | Blackhole | Neighbour | Fdb

PROTOCOLS = {"kernel": 2, "boot": 3, "static": 4, "bird": 12, "bgp": 186}
"""Who wrote a route, as ip-route(8) names it; 80 is Felix's and has no name there."""

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RTN_UNICAST, RTN_BLACKHOLE = 1, 6
RTNH_F_ONLINK = 4
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT, NUD_NOARP, NTF_SELF = 0x80, 0x40, 0x02
AF_BRIDGE = 7
_TABLE_MAIN, _SCOPE_UNIVERSE, _SCOPE_LINK = 254, 0, 253


def lines(step: Step, obj: Inet) -> list[str]:
    """The command for one step."""
    verb = _VERB[type(step)]
    match obj:
        case Address():
            brd = " brd +" if obj.broadcast and verb != "del" else ""
            what = "del" if verb == "del" else "add"
            return [f"{fill('ip -n {} addr {} {}', obj.ns, what, obj.address)}{brd} {fill('dev {}', obj.dev)}"]
        case Route(to=to):
            via = fill(" via {}", obj.via) if obj.via else ""
            by = fill(" proto {}", obj.protocol) if obj.protocol != "boot" else ""
            link = " scope link" if obj.via is None else ""
            onlink = " onlink" if obj.onlink else ""
            way = fill("ip -n {} route {} {}", obj.ns, verb, _destination(to))
            return [f"{way}{via}{fill(' dev {}', obj.dev)}{by}{link}{onlink}"]
        case Blackhole():
            return [fill("ip -n {} route {} blackhole {} proto {}", obj.ns, verb, obj.to, obj.protocol)]
        case Neighbour():
            # `replace`, since the kernel may have asked by itself in the meantime.
            if verb == "del":
                return [fill("ip -n {} neigh del {} dev {}", obj.ns, obj.address, obj.dev)]
            entry = fill("{} dev {} lladdr {}", obj.address, obj.dev, obj.mac)
            return [f"{fill('ip -n {}', obj.ns)} neigh replace {entry} nud permanent"]
        case Fdb():
            entry = fill("{} dev {} dst {}", obj.mac, obj.dev, obj.dst)
            return [f"{fill('bridge -n {}', obj.ns)} fdb {verb} {entry} self permanent"]


def encode(step: Step, obj: Inet, indexes: Indexes) -> list[tuple[str, bytes]]:
    """The messages for one step, each with the namespace in which it is said."""
    flags = _FLAGS[type(step)]
    gone = isinstance(step, Remove)
    match obj:
        case Address():
            raw = message(DELADDR if gone else NEWADDR, flags, _address(obj, indexes))
        case Route():
            raw = message(DELROUTE if gone else NEWROUTE, flags, _route(obj, indexes))
        case Blackhole():
            raw = message(DELROUTE if gone else NEWROUTE, flags, _blackhole(obj))
        case Neighbour():
            body = _neighbour(socket.AF_INET, indexes.index(obj.ns, obj.dev), 0, obj.address.packed, obj.mac)
            raw = message(DELNEIGH if gone else NEWNEIGH, 0 if gone else CREATE | REPLACE, body)
        case Fdb():
            body = _neighbour(AF_BRIDGE, indexes.index(obj.ns, obj.dev), NTF_SELF, obj.dst.packed, obj.mac)
            raw = message(DELNEIGH if gone else NEWNEIGH, flags, body)
        case missing:
            assert_never(missing)
    return [(obj.ns, raw)]


_VERB: dict[type, str] = {Add: "add", Remove: "del", Replace: "replace"}
_FLAGS: dict[type, int] = {Add: CREATE | EXCL, Remove: 0, Replace: CREATE | REPLACE}


def _destination(to: IPv4Network) -> str:
    if to.prefixlen == 0:
        return "default"
    return str(to.network_address) if to.prefixlen == 32 else str(to)


def _address(obj: Address, indexes: Indexes) -> bytes:
    header = struct.pack("=BBBBI", socket.AF_INET, obj.address.network.prefixlen, 0, 0, indexes.index(obj.ns, obj.dev))
    packed = obj.address.ip.packed
    everybody = attribute(IFA_BROADCAST, obj.address.network.broadcast_address.packed) if obj.broadcast else b""
    return header + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed) + everybody


def _route(obj: Route, indexes: Indexes) -> bytes:
    protocol = PROTOCOLS.get(obj.protocol) or int(obj.protocol)
    scope = _SCOPE_LINK if obj.via is None else _SCOPE_UNIVERSE
    flags = RTNH_F_ONLINK if obj.onlink else 0
    header = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, obj.to.prefixlen, 0, 0, _TABLE_MAIN, protocol, scope, RTN_UNICAST, flags
    )
    via = attribute(RTA_GATEWAY, obj.via.packed) if obj.via else b""
    return header + _to(obj.to) + u32(RTA_OIF, indexes.index(obj.ns, obj.dev)) + via


def _blackhole(obj: Blackhole) -> bytes:
    protocol = PROTOCOLS.get(obj.protocol) or int(obj.protocol)
    header = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, obj.to.prefixlen, 0, 0, _TABLE_MAIN, protocol, _SCOPE_UNIVERSE, RTN_BLACKHOLE, 0
    )
    return header + _to(obj.to)


def _to(to: IPv4Network) -> bytes:
    return attribute(RTA_DST, to.network_address.packed) if to.prefixlen else b""


def _neighbour(family: int, index: int, flags: int, destination: bytes, mac: str) -> bytes:
    state = NUD_PERMANENT | (NUD_NOARP if family == AF_BRIDGE else 0)
    header = struct.pack("=BxxxiHBB", family, index, state, flags, 0)
    return header + attribute(NDA_DST, destination) + attribute(NDA_LLADDR, mac_bytes(mac))
