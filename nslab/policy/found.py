"""What a Felix that starts finds in its node's kernel of its own: chains, jumps and sets, whoever's run wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import names
from nslab.policy.in_iptables import HASH_OPTIONS
from nslab.ruletext.items import NodeCommand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.ruletext.items import Item, Items

UNREAD = ("",)
"""The body of a chain whose rules were not compared: it is written again, or goes."""


def looks(variant: str) -> tuple[NodeCommand, ...]:
    """The commands whose output `found` reads; `variant`: the iptables program of the machine."""
    return NodeCommand((f"{variant}-save",), ""), NodeCommand(("ipset", "save"), "")


def found(outputs: Sequence[str], wanted: Items) -> Items:
    """The items of Felix that exist, by the outputs of `looks`, for nslab.policy.change."""
    rules, sets = outputs
    return {**dict(_sets(sets)), **dict(_rules(rules, wanted))}


def leftovers(there: Items, wanted: Items) -> Items:
    """Surplus chains, and sets with their members. Somebody's rule that refers to one keeps it from being deleted."""
    kept = {item[1] for item in wanted if item[0] == "ipset"}
    return {
        item: body
        for item, body in there.items()
        if item not in wanted and (item[0] in ("chain", "ipset") or (item[0] == "member" and item[1] not in kept))
    }


def _rules(text: str, wanted: Items) -> Iterator[tuple[Item, tuple[str, ...]]]:
    jumps = {(item[1], item[2], item[3]): item for item in wanted if item[0] == "jump"}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":cali-"):
            yield ("chain", table, line[1:].partition(" ")[0]), UNREAD
        elif line.startswith("-A ") and not line.startswith("-A cali-") and '"cali:' in line:
            chain, _, rule = line[3:].partition(" ")
            yield jumps.get((table, chain, rule), ("jump", table, chain, rule, "first")), ()


def _sets(text: str) -> Iterator[tuple[Item, tuple[str, ...]]]:
    for line in text.splitlines():
        match line.split():
            case ["create", name, kind, *_] if name.startswith(names.SETS):
                yield ("ipset", name), (kind, HASH_OPTIONS)
            case ["add", name, entry, *_] if name.startswith(names.SETS):
                yield ("member", name, entry), ()
