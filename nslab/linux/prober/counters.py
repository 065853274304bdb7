"""Counters of a namespace that say why packets end there: rules and policies that drop, and the kernel's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from nslab.linux.netlink import netfilter
from nslab.linux.observe.place import is_safe_to_ask
from nslab.linux.rules import restore
from nslab.probes.evidence import Count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.linux.netns import Namespaces

Counters: TypeAlias = "Mapping[tuple[str, bool], int]"
"""By name, and whether it is a rule's or a policy's."""
_NET = "/proc/thread-self/net"
_KERNELS = (
    "TcpExt.IPReversePathFilter",
    "Ip.InAddrErrors",
    "Ip.InDiscards",
    "Ip.OutNoRoutes",
    "IpExt.InNoRoutes",
    "IpExt.InCsumErrors",
    "TcpExt.ListenDrops",
    "Udp.InCsumErrors",
    "Udp.RcvbufErrors",
)
_POLICY = re.compile(r":(\S+) DROP \[(\d+):\d+\]")
_RULE = re.compile(r"\[(\d+):\d+\] (-A .*-j (?:DROP|REJECT)\b.*)")


def counted(spaces: Namespaces, ns: str, iptables: str) -> Counters:
    """The counters of a namespace now."""
    spaces.enter(ns)
    return {**dict(_rules(ns, iptables)), **dict(_kernels())}


def kernel_counters(spaces: Namespaces, ns: str) -> Counters:
    """The kernel's own counters of a namespace now: those that say why packets end."""
    spaces.enter(ns)
    return dict(_kernels())


def moved(host: str, before: Counters, after: Counters) -> Iterator[Count]:
    """The counters that moved."""
    for (name, rule), number in after.items():
        if number > before.get((name, rule), 0):
            yield Count(host, name, rule)


def _kernels() -> Iterator[tuple[tuple[str, bool], int]]:
    for file in ("snmp", "netstat"):
        with open(f"{_NET}/{file}") as opened:
            lines = opened.read().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            group, *fields = names.split()
            for field, value in zip(fields, values.split()[1:], strict=False):
                if (name := f"{group.rstrip(':')}.{field}") in _KERNELS:
                    yield (name, False), int(value)


def _rules(ns: str, iptables: str) -> Iterator[tuple[tuple[str, bool], int]]:
    table = ""
    for line in _saved(ns, iptables).splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif match := _POLICY.match(line):
            yield (f"policy DROP of chain {match[1]} (table {table})", True), int(match[2])
        elif match := _RULE.match(line):
            yield (f"rule {match[2]} (table {table})", True), int(match[1])


def _saved(ns: str, iptables: str) -> str:
    if not _has_rules():
        return ""
    return restore.listed(f"{iptables}-save", "-c", lock=restore.lock_of(ns))


def _has_rules() -> bool:
    try:
        with open(f"{_NET}/ip_tables_names") as file:
            if file.read():
                return True
    except OSError:
        pass
    return is_safe_to_ask("nf_tables") and any(family == "ip" for family, _ in netfilter.tables())
