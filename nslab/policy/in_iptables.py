"""Felix's chains and sets in iptables and ipset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import base
from nslab.policy.rule import signed
from nslab.policy.workload import dispatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.policy.model import Direction
    from nslab.policy.rule import FelixRule
    from nslab.ruletext.items import Body, Item, Items

HASH_OPTIONS = "family inet hashsize 1024 maxelem 1048576"


def frame() -> Items:
    """The rules in the built-in chains, each table's in the order in which they are inserted or appended."""
    found: Items = {}
    for table, chain, rules in base.inserted():
        found |= {("jump", table, chain, rule, "first"): () for rule in signed(chain, rules)}
    for table, chain, rules in base.appended():
        found |= {("jump", table, chain, rule, "last"): () for rule in signed(f"{chain}*appends*", rules)}
    return found


def chain(table: str, name: str, rules: Iterable[FelixRule]) -> tuple[Item, Body]:
    """A chain."""
    return ("chain", table, name), signed(name, rules)


def dispatched(interfaces: Sequence[str], direction: Direction) -> Iterator[tuple[Item, Body]]:
    """What leads to the pods' chains."""
    return (chain("filter", name, rules) for name, rules in dispatch(interfaces, direction))


def ipset(name: str, kind: str, members: Iterable[str]) -> Items:
    """A set with its members. `kind`: hash:net, hash:ip or hash:ip,port."""
    return {("ipset", name): (kind, HASH_OPTIONS), **{("member", name, one): () for one in members}}
