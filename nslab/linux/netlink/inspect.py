"""A namespace's whole network, whoever made it, as the kernel reports it (read with pyroute2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from nslab.linux.netns import Namespaces, named
from nslab.objects.inet import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROTOCOLS = {number: name for name, number in PROTOCOLS.items()}
_KINDS = {1: "unicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}


def inspect(lab: str, hosts: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return a row per interface of `hosts` (all of the lab's by default), with its addresses and routes."""
    wanted = {f"nslab.{lab}.{host}" for host in hosts}
    rows = []
    with Namespaces() as spaces:
        for ns in named(lab):
            if not wanted or ns in wanted:
                spaces.enter(ns)
                with IPRoute() as netlink:
                    rows += _interfaces(ns.removeprefix(f"nslab.{lab}."), netlink)
    return rows


def _interfaces(host: str, netlink: IPRoute) -> list[dict[str, Any]]:
    links = list(netlink.get_links())
    names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in links}
    addresses: dict[int, list[str]] = {}
    for entry in netlink.get_addr():
        addresses.setdefault(entry["index"], []).append(f"{entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}")
    routes: dict[int, list[str]] = {}
    for entry in netlink.get_routes(family=2, table=254):
        routes.setdefault(entry.get_attr("RTA_OIF") or 0, []).append(_route(entry))
    return [
        {
            "host": host,
            "interface": names[link["index"]],
            "kind": (link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "-"),
            "state": "up" if link["flags"] & 1 else "down",
            "mtu": link.get_attr("IFLA_MTU"),
            "mac": link.get_attr("IFLA_ADDRESS") or "-",
            "master": names.get(link.get_attr("IFLA_MASTER"), "-"),
            "addresses": addresses.get(link["index"], []),
            "routes": routes.get(link["index"], []),
        }
        for link in links
    ]


def _route(entry: Any) -> str:
    to = f"{entry.get_attr('RTA_DST')}/{entry['dst_len']}" if entry["dst_len"] else "default"
    via = f" via {entry.get_attr('RTA_GATEWAY')}" if entry.get_attr("RTA_GATEWAY") else ""
    kind = "" if entry["type"] == 1 else f"{_KINDS.get(entry['type'], entry['type'])} "
    return f"{kind}{to}{via} proto {_PROTOCOLS.get(entry['proto'], entry['proto'])}"
