"""nftables in memory: what one command of nft does to the objects that are there."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from nslab.objects.nft_commands import Ruleset

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject
    from nslab.objects.keys import Key
    from nslab.objects.nft_commands import Operation


def perform(one: Operation, there: dict[Key, KernelObject]) -> int:
    """Do one command in memory; Linux's errno, or 0."""
    _, verb, target, _ = one
    before = there.get(target.key)
    named = target.refers_to if verb == target.completed_by else ()
    if any(key not in there for key in (*target.requires, *named)) or (before is None and verb != "add"):
        return errno.ENOENT
    match verb:
        case "delete":
            if any(target.key in user.refers_to for user in there.values() if user is not before):
                return errno.EBUSY
            for key in _with_all_inside(target.key, there):
                del there[key]
        case "flush":  # a later command fills the chain or deletes it
            there[target.key] = before.flushed if isinstance(before, Ruleset) else target
        case "fill":
            there[target.key] = target
        case "add":
            made = target.added(before)
            if isinstance(made, int):
                return made
            there[target.key] = made
    return 0


def _with_all_inside(key: Key, there: dict[Key, KernelObject]) -> set[Key]:
    """The keys of a table and its contents, or of a set and its elements."""
    gone = {key}
    while inside := {obj.key for obj in there.values() if not gone.isdisjoint(obj.requires)} - gone:
        gone |= inside
    return gone
