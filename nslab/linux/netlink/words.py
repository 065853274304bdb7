"""Routes, rules, neighbours and addresses in the words of ip(8), as pyroute2 decodes them: imported where one is found.

What a lab is made of is read by our own few lines; here is put into words what is not the lab's, and so is rare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from nslab.objects.routes import route_author
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Names = Mapping[int, str]

_AF_INET6 = 10
_TYPES = {
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
_TABLES = {253: "default", 254: "main", 255: "local"}
_ACTIONS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
_METRICS = {
    "RTAX_MTU": "mtu",
    "RTAX_WINDOW": "window",
    "RTAX_RTT": "rtt",
    "RTAX_ADVMSS": "advmss",
    "RTAX_INITCWND": "initcwnd",
}
_PERMANENT = 0x80


def route(body: bytes, names: Names) -> str:
    """A route, as it follows `ip route add`."""
    found = _decoded(rtmsg, body)
    parts = [
        _TYPES.get(found["type"], ""),
        _network(found.get_attr("RTA_DST"), found["dst_len"], "default"),
        *_pair("tos", found["tos"] and f"{found['tos']:#x}"),
        *_way(found, names),
        *_pair("table", _table(found.get_attr("RTA_TABLE") or found["table"])),
        *_pair("proto", found["proto"] != 3 and route_author(found["proto"])),
        *_pair("src", found.get_attr("RTA_PREFSRC")),
        *_pair("metric", found.get_attr("RTA_PRIORITY")),
        *_metrics(found),
    ]
    for hop in found.get_attr("RTA_MULTIPATH") or ():
        parts += ["nexthop", *_way(hop, names, hop["oif"]), *_pair("weight", hop["hops"] + 1)]
    return " ".join(filter(None, parts))


def _way(found: Any, names: Names, oif: int = 0) -> list[str]:
    index = oif or found.get_attr("RTA_OIF")
    onlink = ["onlink"] * bool(found["flags"] & 4)
    return [*_pair("via", found.get_attr("RTA_GATEWAY")), *_pair("dev", names.get(index)), *onlink]


def _metrics(found: Any) -> Iterator[str]:
    metrics = found.get_attr("RTA_METRICS")
    for name, value in metrics["attrs"] if metrics else ():
        if name in _METRICS:
            yield f"{_METRICS[name]} {value}"


def rule(body: bytes) -> str:
    """A routing rule, as it follows `ip rule add`."""
    found = _decoded(fibmsg, body)
    mark, mask = found.get_attr("FRA_FWMARK"), found.get_attr("FRA_FWMASK")
    parts = [
        *_pair("pref", str(found.get_attr("FRA_PRIORITY") or 0)),
        *_pair("from", _network(found.get_attr("FRA_SRC"), found["src_len"], "all")),
        *_pair("to", found["dst_len"] and _network(found.get_attr("FRA_DST"), found["dst_len"], "")),
        *_pair("tos", found["tos"] and f"{found['tos']:#x}"),
        *_pair("fwmark", mark is not None and f"{mark:#x}/{mask:#x}"),
        *_pair("iif", found.get_attr("FRA_IIFNAME")),
        *_pair("oif", found.get_attr("FRA_OIFNAME")),
        *_pair("ipproto", found.get_attr("FRA_IP_PROTO")),
        *_pair("sport", _ports(found.get_attr("FRA_SPORT_RANGE"))),
        *_pair("dport", _ports(found.get_attr("FRA_DPORT_RANGE"))),
        _ACTIONS.get(found["action"]) or f"lookup {_table(found.get_attr('FRA_TABLE') or found['table']) or 'main'}",
    ]
    return " ".join(parts)


def _ports(span: str | None) -> str:
    first, _, last = (span or "").partition(":")
    return first if first == last else f"{first}-{last}"


def neighbour(body: bytes, names: Names) -> str:
    """A neighbour, as it follows `ip neigh add`."""
    found = _decoded(ndmsg, body)
    dev, mac = names.get(found["ifindex"], ""), found.get_attr("NDA_LLADDR")
    if not found["state"] & _PERMANENT:
        return f"proxy {found.get_attr('NDA_DST')} dev {dev}"
    return f"{found.get_attr('NDA_DST')} lladdr {mac} dev {dev} nud permanent"


def address(body: bytes, names: Names) -> str:
    """An address, as it follows `ip addr add`."""
    found = _decoded(ifaddrmsg, body)
    own = found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
    return f"{own}/{found['prefixlen']} dev {names.get(found['index'], '')}"


def _decoded(message: Any, body: bytes) -> Any:
    found = message(wire.message(0, 0, body))
    found.decode()
    return found


def _network(address: str | None, length: int, everywhere: str) -> str:
    return f"{address}/{length}" if address and length else everywhere


def _table(number: int) -> str:
    """A table's name; nothing for the one that is meant if none is named."""
    return "" if number == 254 else _TABLES.get(number, str(number))


def _pair(word: str, value: object) -> list[str]:
    return [word, str(value)] if value else []
