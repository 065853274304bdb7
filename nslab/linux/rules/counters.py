"""Read the rules of a namespace with their counters: both variants of iptables, nftables, IPVS."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nslab.linux.netlink import netfilter
from nslab.linux.observe.place import is_safe_to_ask
from nslab.linux.rules import restore
from nslab.trace.counted.values import PrintedRules, RuleCounter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.linux.netns import Namespaces

IPTABLES = ("raw", "mangle", "nat", "filter", "security")
"""The tables of iptables; those of its nft variant are tables of nftables, too."""


def read_rules(spaces: Namespaces, ns: str) -> PrintedRules:
    """Read them. No module is loaded, and no table created: who lists one that does not exist would create it."""
    spaces.enter(ns)
    try:
        tables = netfilter.tables() if is_safe_to_ask("nf_tables") else set()
        by_iptables = {name for family, name in tables if family == "ip" and name in IPTABLES}
        others = {(family, name) for family, name in tables if family != "ip" or name not in by_iptables}
        iptables = _listed(ns, "iptables-nft-save", "-c") if by_iptables else ""
        nft = _listed(ns, "nft", "-j", "list", "ruleset") if others else ""
        legacy, counters = _legacy(ns)
        ipvs, statistics = _ipvs(ns)
        return PrintedRules(iptables, legacy, counters, nft, ipvs, statistics)
    finally:
        spaces.home()


def _listed(ns: str, *argv: str) -> str:
    return restore.listed(*argv, lock=restore.lock_of(ns))


def _legacy(ns: str) -> tuple[str, Mapping[tuple[str, str], Sequence[RuleCounter]] | None]:
    """The rules of the legacy variant, and the counters as python-iptables reads them; None if it cannot be used."""
    tables = _names("/proc/thread-self/net/ip_tables_names")
    if not tables:
        return "", None
    try:
        import iptc
    except ImportError:  # it is C, and some machines have no compiler
        return "".join(_listed(ns, "iptables-legacy-save", "-c", "-t", table) for table in tables), None
    saved = "".join(_listed(ns, "iptables-legacy-save", "-t", table) for table in tables)
    counters: dict[tuple[str, str], list[RuleCounter]] = {}
    for name in tables:
        table = iptc.Table(name, autocommit=False)
        table.refresh()  # it is the same object for each namespace
        for chain in table.chains:
            counters[name, chain.name] = [RuleCounter(*rule.get_counters()) for rule in chain.rules]
    return saved, counters


def _ipvs(ns: str) -> tuple[str, str]:
    if not {"TCP", "UDP", "SCTP"} & {*_names("/proc/thread-self/net/ip_vs")}:
        return "", ""
    return _listed(ns, "ipvsadm", "-Ln"), _listed(ns, "ipvsadm", "-Ln", "--stats", "--exact")


def _names(path: str) -> list[str]:
    with contextlib.suppress(OSError), open(path) as file:
        return file.read().split()
    return []
