"""Rules: both variants of iptables, for IPv4 and IPv6; nft's tables of every family; ipsets; IPVS."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from nslab.linux.netlink import netfilter
from nslab.linux.observe import nft
from nslab.linux.observe.place import is_safe_to_ask
from nslab.linux.rules import restore
from nslab.objects import ipset, iptables_saved, ipvs, nft_listing
from nslab.objects.iptables_saved import saved_chains
from nslab.objects.unmanaged import Unmanaged
from nslab.quote import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.observe.place import Found, ObservedNamespace
    from nslab.objects.base import KernelObject

_LEGACY, _NFT = "-legacy", "-nft"
_TABLES_OF_LEGACY = {"ip": "/proc/thread-self/net/ip_tables_names", "ip6": "/proc/thread-self/net/ip6_tables_names"}
_TABLES_OF_NFT = ("raw", "mangle", "nat", "filter", "security")


def iptables(place: ObservedNamespace) -> Found:
    """Chains, rules and policies of the variant that the lab's are in, and of the other; IPv4's, and IPv6's."""
    have: list[KernelObject] = []
    others: list[Unmanaged] = []
    for family, variant, tables in _tables(place):
        program = _program(place.iptables, family, variant)
        saved = "".join(_saved(place, program, variant, tables))
        chains = saved_chains(saved)
        if program == place.iptables:
            have += iptables_saved.seen(place.ns, chains, place.known)
            others += iptables_saved.unmanaged(place.ns, chains, place.known, "iptables")
        else:
            others += iptables_saved.unmanaged(place.ns, chains, (), program)
            others += iptables_saved.changed_policies(place.ns, chains, program)
        others += iptables_saved.incompatible(place.ns, saved, family)
    return have, others


def _tables(place: ObservedNamespace) -> Iterator[tuple[str, str, list[str]]]:
    """Families and variants with their existing tables: listing a table that does not exist creates it."""
    made = nft_tables_of(place)
    for family in ("ip", "ip6"):
        if tables := [name for name in _TABLES_OF_NFT if (family, name) in made]:
            yield family, _NFT, tables
        if tables := _names(_TABLES_OF_LEGACY[family]):
            yield family, _LEGACY, tables


def _names(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().split()
    except OSError:
        return []


def _saved(place: ObservedNamespace, program: str, variant: str, tables: list[str]) -> Iterator[str]:
    if variant == _NFT:
        yield place.saved(f"{program}-save")
    else:
        for table in tables:
            yield place.saved(f"{program}-save", "-t", table)


def _program(labs: str, family: str, variant: str) -> str:
    """The program for a family's rules in a variant: without a suffix, where it is what the machine's own is."""
    plain = labs if labs == "iptables" or labs.endswith(variant) else "iptables"
    name = plain if is_variant(plain, variant) else f"iptables{variant}"
    return name.replace("iptables", f"{family}tables")


@cache
def is_variant(program: str, variant: str) -> bool:
    """Whether a program is of a variant (`-nft`, `-legacy`), whatever its name."""
    return variant in os.path.basename(os.path.realpath(restore.program(f"{program}-save")))


def nft_tables_of(place: ObservedNamespace) -> set[tuple[str, str]]:
    """Family and name of each nft table; none if listing them would load a module."""
    if not (place.could_have("nft") or is_safe_to_ask("nf_tables") or is_variant(place.iptables, _NFT)):
        return set()
    return netfilter.tables()


def nft_tables(place: ObservedNamespace) -> Found:
    """The lab's nft tables with their contents, and unmanaged tables, except those of iptables-nft."""
    ours = nft_listing.tables(place.known)
    strange = [
        (family, name)
        for family, name in sorted(nft_tables_of(place))
        if not (family == "ip" and name in ours) and not (family in ("ip", "ip6") and name in _TABLES_OF_NFT)
    ]
    place.spaces.enter(place.ns)
    others = [
        Unmanaged(place.ns, nft.described(family, name), (fill("nft delete table {} {}", family, name),))
        for family, name in strange
    ]
    return nft.tables(place.spaces, place.ns, place.known), others


def ipsets(place: ObservedNamespace) -> Found:
    """The lab's ipsets with their members, and others' sets."""
    if not place.could_have("ipset") and not (is_safe_to_ask("ip_set") and netfilter.ipsets()):
        return (), ()
    saved = place.saved("ipset", "save")
    others = [
        Unmanaged(place.ns, f"ipset {name} ({kind}, {members} members)", (fill("ipset destroy {}", name),))
        for name, kind, members in ipset.others(saved, place.known)
    ]
    return ipset.seen(place.ns, saved, place.known), others


def ipvs_servers(place: ObservedNamespace) -> Found:
    """Virtual and real servers: the lab manages all of them, except those of firewall marks."""
    services = _names("/proc/thread-self/net/ip_vs")
    if not place.could_have("ipvs") and not {"TCP", "UDP", "SCTP", "FWM"} & {*services}:
        return (), ()
    saved = place.saved("ipvsadm", "-Sn")
    marks = [line.split()[2] for line in saved.splitlines() if line.startswith("-A -f ")]
    others = [Unmanaged(place.ns, f"IPVS virtual server of mark {mark}", (f"ipvsadm -D -f {mark}",)) for mark in marks]
    return ipvs.seen(place.ns, saved, place.known), others
