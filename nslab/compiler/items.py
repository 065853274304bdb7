"""Items of rules and sets (nslab.ruletext.items) as kernel objects of a State."""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from nslab.objects.inet import Address
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.ipvs import RealServer, VirtualServer
from nslab.objects.links import Dummy
from nslab.objects.nft import NftChain, NftElement, NftSet, NftTable
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.objects.base import KernelObject
    from nslab.ruletext.items import Body, Item, Items

_STAGES = (
    ("sysctl", "dummy", "address"), ("ipset", "member"), ("chain", "jump"), ("virtual", "real"),
    ("nft-table", "nft-set", "nft-map", "nft-chain", "nft-element"),
)  # fmt: skip
_PLACES = {kind: (stage, place) for stage, kinds in enumerate(_STAGES) for place, kind in enumerate(kinds)}


def objects(ns: str, written: Mapping[str, Items]) -> Iterator[KernelObject]:
    """The kernel objects for the items that each component writes, each after those it requires.

    Those that one program makes stand together, whoever writes them: one restore takes them all. Chains come before the
    jumps to them; they may refer to later chains. Each jump that comes first is inserted before the earlier ones, so
    the last component's are at the top.
    """
    for stage in range(len(_STAGES)):
        for by, items in written.items():
            here = [item for item in items if _PLACES[item[0]][0] == stage]
            yield from (_object(ns, item, items[item], by) for item in sorted(here, key=_place))


def _place(item: Item) -> tuple[str, int]:
    kind, table = item[:2]
    return table if kind in ("chain", "jump") else "", _PLACES[kind][1]


def _object(ns: str, item: Item, body: Body, by: str) -> KernelObject:
    match item, body:
        case ("sysctl", path, default), (value,):
            return Sysctl(ns, path, value, default, by=by)
        case ("dummy", name), _:
            return Dummy(ns, name, by=by)
        case ("address", dev, address), _:
            return Address(ns, dev, IPv4Interface(address), by=by)
        case ("ipset", name), (kind, options):
            return IpSet(ns, name, kind, options, by=by)
        case ("member", name, entry), _:
            return SetMember(ns, name, entry, by=by)
        case ("chain", "raw" | "mangle" | "nat" | "filter" as table, name), rules:
            return Chain(ns, table, name, rules, by=by)
        case ("jump", "raw" | "mangle" | "nat" | "filter" as table, chain, rule, "first" | "last" as place), _:
            return Jump(ns, table, chain, rule, place, by=by)
        case ("virtual", protocol, service), (scheduler, seconds, flags):
            return VirtualServer(ns, protocol, service, scheduler, int(seconds or 0), flags, by=by)
        case ("real", protocol, service, server), (weight,):
            return RealServer(ns, protocol, service, server, int(weight), by=by)
        case _:
            return _nft(ns, item, body, by)


def _nft(ns: str, item: Item, body: Body, by: str) -> KernelObject:
    match item, body:
        case ("nft-table", table), (comment,):
            return NftTable(ns, table, comment, by=by)
        case ("nft-set" | "nft-map" as kind, table, name), (spec,):
            return NftSet(ns, table, name, spec, kind == "nft-map", by=by)
        case ("nft-chain", table, name), (hook, *rules):
            return NftChain(ns, table, name, hook, tuple(rules), by=by)
        case ("nft-element", table, name, key), (comment, verdict):
            return NftElement(ns, table, name, key, verdict, comment, by=by)
    raise AssertionError(item)
