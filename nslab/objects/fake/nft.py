"""What Linux says to one order of nft, in memory: the part of the fake kernel that knows nftables."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, TypeAlias

from nslab.objects.kinds import NftChain, NftElement, NftSet, NftTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.kinds import Key, Object
    from nslab.objects.nft import Order, Things

There: TypeAlias = "dict[Key, Object]"

_GOES_TO = re.compile(r"(?:jump|goto) ([^\s,]+)")
_LOOKS_UP = re.compile(r"@(\S+)")


def obey(order: Order, there: There) -> int:
    """Do one order; the error that Linux answers with, or 0. nft's `add` is content with what is there already."""
    verb, thing, _ = order
    before = there.get(thing.key)
    if any(key not in there for key in (*thing.lies_on, *_named(thing, verb))):
        return errno.ENOENT
    if before is None and verb != "add":
        return errno.ENOENT
    match verb, thing:
        case "delete", _:
            if _in_use(thing, there):
                return errno.EBUSY
            for key in [thing.key, *_inside(thing, there)]:
                del there[key]
        case "flush", NftChain(ns=ns, table=table, name=name):
            assert isinstance(before, NftChain)
            there[thing.key] = NftChain(ns, table, name, before.hook, ())
        case "add", NftChain(ns=ns, table=table, name=name, hook=hook):
            if isinstance(before, NftChain):
                return 0 if before.hook == hook else errno.EEXIST
            there[thing.key] = NftChain(ns, table, name, hook, ())
        case "add", NftTable():
            there.setdefault(thing.key, thing)
        case "add", NftSet():
            if isinstance(before, NftSet) and not before.alike(thing):
                return errno.EEXIST
            there[thing.key] = thing
        case "add", NftElement():
            if isinstance(before, NftElement) and before.verdict != thing.verdict:
                return errno.EEXIST
            there.setdefault(thing.key, thing)
        case _:
            there[thing.key] = thing
    return 0


def _named(thing: Things, verb: str) -> Iterator[Key]:
    """The chains and sets that must be there for a chain's rules, or for a verdict."""
    match verb, thing:
        case "fill", NftChain(ns=ns, table=table, rules=rules):
            yield from (("NftChain", ns, table, name) for rule in rules for name in _GOES_TO.findall(rule))
            yield from (("NftSet", ns, table, name) for rule in rules for name in _LOOKS_UP.findall(rule))
        case "add", NftElement(ns=ns, table=table, verdict=verdict):
            yield from (("NftChain", ns, table, name) for name in _GOES_TO.findall(verdict))


def _in_use(thing: Things, there: There) -> bool:
    """Whether another chain's rules or an element name it. Elements are in no use."""
    if not isinstance(thing, NftChain | NftSet):
        return False
    users = (obj for obj in there.values() if isinstance(obj, NftChain | NftElement) and obj.ns == thing.ns)
    return any(
        thing.key in _named(user, "fill" if isinstance(user, NftChain) else "add")
        for user in users
        if user.key != thing.key
    )


def _inside(thing: Things, there: There) -> list[Key]:
    """What goes with a set, or with a table."""
    match thing:
        case NftTable(ns=ns, name=table):
            return [key for key in there if key[:3] in {(kind, ns, table) for kind in _KINDS}]
        case NftSet(ns=ns, table=table, name=name):
            return [key for key in there if key[:4] == ("NftElement", ns, table, name)]
    return []


_KINDS = ("NftSet", "NftChain", "NftElement")
