"""Dumps of nodes as tests write them: what iproute2 prints, made of a few words."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import Any

from nslab.trace.dump.files import Dump
from nslab.trace.dump.host import DumpedHost


def link(name: str, index: int = 0, kind: str = "", **more: Any) -> dict[str, Any]:
    """An interface."""
    info = {"linkinfo": {"info_kind": kind, "info_data": more.pop("data", {})}} if kind else {}
    flags = more.pop("flags", ["UP", "LOWER_UP"])
    return {"ifindex": index or sum(name.encode()), "ifname": name, "flags": flags, "mtu": 1500, **info, **more}


def address(dev: str, *own: str) -> dict[str, Any]:
    """The addresses of an interface."""
    infos = [
        {
            "family": "inet",
            "local": str(one.ip),
            "prefixlen": one.network.prefixlen,
            "scope": "host" if one.ip.is_loopback else "global",
        }
        for one in map(ip_interface, own)
    ]
    return {"ifname": dev, "addr_info": infos}


def route(to: str, dev: str, **more: Any) -> dict[str, Any]:
    """A route of the table main."""
    return {"dst": to, "dev": dev, "flags": [], **more}


def dumped(
    name: str, links: list[dict[str, Any]], own: dict[str, list[str]], routes: list[dict[str, Any]], **files: Any
) -> DumpedHost:
    """A node. `own`: addresses by interface; `files`: others, with a `_` for each `-` and without `.json`, if not text.

    The routes to its own addresses and networks are made as the kernel makes them.
    """
    made = [address(dev, *addresses) for dev, addresses in {"lo": ["127.0.0.1/8"], **own}.items()]
    kernel = []
    for dev, addresses in own.items():
        for one in map(ip_interface, addresses):
            kernel.append(route(str(one.ip), dev, type="local", table="local", protocol="kernel", prefsrc=str(one.ip)))
            if one.network.prefixlen < 32:
                kernel.append(route(str(one.network), dev, protocol="kernel", scope="link", prefsrc=str(one.ip)))
    kernel.append(route("127.0.0.0/8", "lo", type="local", table="local", protocol="kernel"))
    text = {
        "link.json": json.dumps([link("lo", 1), *links]),
        "addr.json": json.dumps(made),
        "route.json": json.dumps([*routes, *kernel]),
        "sysctl": "net.ipv4.ip_forward = 1\n",
        "iptables-version": "iptables v1.8.9 (nf_tables)\n",
    }
    for key, value in files.items():
        file = key.replace("_", "-")
        text |= {file: value} if isinstance(value, str) else {f"{file}.json": json.dumps(value)}
    return DumpedHost(Dump(name, text))
