"""A namespace's whole network, whoever made it, as the kernel reports it (read with pyroute2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from nslab.linux.netlink.show import show
from nslab.linux.netns import Namespaces, named
from nslab.linux.visits import visiting
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Iterable


def inspect(lab: str, hosts: Iterable[str] = (), *, routes: bool = False) -> list[dict[str, Any]]:
    """A row per interface of the lab's hosts (all, unless some are named), with its addresses.

    With `routes`, also its routes, as `ip -j route` has them; those without an interface are listed at `lo`.
    """
    wanted = {f"nslab.{lab}.{host}" for host in hosts}
    rows = []
    with visiting(lab), Namespaces() as spaces:
        for ns in named(lab):
            if not wanted or ns in wanted:
                spaces.enter(ns)
                with IPRoute() as netlink:
                    rows += _interfaces(ns.removeprefix(netns(lab, "")), netlink)
    if not routes:
        return rows
    tables = show(lab, [(host, "route") for host in dict.fromkeys(row["host"] for row in rows)])
    return [{**row, "routes": _through(tables.get((row["host"], "route"), []), row["interface"])} for row in rows]


def _through(table: list[dict[str, Any]], interface: str) -> list[dict[str, Any]]:
    return [
        route
        for route in table
        if interface in (route.get("dev", "" if "nexthops" in route else "lo"), *_devices(route))
    ]


def _devices(route: dict[str, Any]) -> list[str]:
    return [hop.get("dev", "") for hop in route.get("nexthops", ())]


def _interfaces(host: str, netlink: IPRoute) -> list[dict[str, Any]]:
    links = list(netlink.get_links())
    names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in links}
    addresses: dict[int, list[str]] = {}
    for entry in netlink.get_addr():
        addresses.setdefault(entry["index"], []).append(f"{entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}")
    return [
        {
            "host": host,
            "interface": names[link["index"]],
            "kind": link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"),
            "state": "up" if link["flags"] & 1 else "down",
            "mtu": link.get_attr("IFLA_MTU"),
            "mac": link.get_attr("IFLA_ADDRESS"),
            "master": names.get(link.get_attr("IFLA_MASTER")),
            "addresses": addresses.get(link["index"], []),
        }
        for link in links
    ]
