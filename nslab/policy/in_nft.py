"""Felix's chains, maps and sets in nftables: one table, whose base chains have the places of iptables' tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import base
from nslab.policy.nft_rule import nft_signed
from nslab.policy.rule import LAYER, FelixRule, RulePart, nft_set
from nslab.policy.workload import CHAIN, DISPATCH, UNKNOWN_INTERFACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.policy.model import Direction
    from nslab.ruletext.items import Body, Item, Items

TABLE = "calico"
_BASE = {
    "raw": ("filter", {"PREROUTING": -300, "OUTPUT": -300}),
    "mangle": ("filter", dict.fromkeys(("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"), -150)),
    "nat": ("nat", {"PREROUTING": -100, "INPUT": -100, "OUTPUT": 110, "POSTROUTING": 110}),
    "filter": ("filter", {"INPUT": 0, "FORWARD": 0, "OUTPUT": 0}),
}
"""By the table of iptables: the type of its base chains, and their priorities, kube-proxy's being 100."""
_SETS = {
    "hash:net": "type ipv4_addr ; flags interval ;",
    "hash:ip": "type ipv4_addr ;",
    "hash:ip,port": "type ipv4_addr . inet_proto . inet_service ;",
}
_BY_INTERFACE = {"ingress": "oifname", "egress": "iifname"}


def frame() -> Items:
    """The table and its base chains."""
    first = {(table, chain): nft_signed(table, f"{table}-{chain}", rules) for table, chain, rules in base.inserted()}
    last = {
        (table, chain): nft_signed(table, f"{table}-{chain}*appends*", rules) for table, chain, rules in base.appended()
    }
    found: Items = {("nft-table", TABLE): ("",)}
    for table, (kind, hooks) in _BASE.items():
        for hook, priority in hooks.items():
            rules = (*first.get((table, hook), ()), *last.get((table, hook), ()))
            # Packets of the node itself are routed again if their mark changes.
            type_ = "route" if (table, hook) == ("mangle", "OUTPUT") else kind
            declared = f"type {type_} hook {hook.lower()} priority {priority} ;"
            found["nft-chain", TABLE, f"{table}-{hook}"] = (declared, *rules)
    return found


def chain(table: str, name: str, rules: Iterable[FelixRule]) -> tuple[Item, Body]:
    """A chain."""
    whole = f"{table}-{name}"
    return ("nft-chain", TABLE, whole), ("", *nft_signed(table, whole, rules))


def dispatched(interfaces: Sequence[str], direction: Direction) -> Iterator[tuple[Item, Body]]:
    """What leads to the pods' chains: a map."""
    name = DISPATCH[direction]
    yield ("nft-map", TABLE, f"filter-{name}"), ("type ifname : verdict ;",)
    look = RulePart("", "", nft=f"{_BY_INTERFACE[direction]} vmap @{LAYER}-{name}")
    yield chain("filter", name, [FelixRule((look,)), UNKNOWN_INTERFACE])
    for interface in interfaces:
        to = f"goto filter-{CHAIN[direction]}{interface}"
        yield ("nft-element", TABLE, f"filter-{name}", f'"{interface}"'), ("", to)


def ipset(name: str, kind: str, members: Iterable[str]) -> Items:
    """A set with its members. `kind`: hash:net, hash:ip or hash:ip,port, whose members are `ADDRESS,PROTOCOL:PORT`."""
    found: Items = {("nft-set", TABLE, nft_set(name)): (_SETS[kind],)}
    return found | {("nft-element", TABLE, nft_set(name), _member(one)): ("", "") for one in members}


def _member(entry: str) -> str:
    return " . ".join(entry.replace(":", ",").split(","))
