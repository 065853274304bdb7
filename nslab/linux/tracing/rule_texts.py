"""The text of each rule that the kernel's trace names by a number, as the rule's owner would list it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from nslab.errors import NslabError
from nslab.linux.netlink import netfilter
from nslab.linux.rules import restore
from nslab.objects.nft_listing import uncounted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nslab.wire.nftables import ListedRule

    Texts: TypeAlias = Mapping[tuple[str, int], str]
    """By table and number: the rule, as iptables-save or `nft list` writes it."""

_IPTABLES = ("raw", "mangle", "nat", "filter", "security")
_RULE = re.compile(r"-A (\S+) ?(.*)")
_NFT_TABLE = re.compile(r"table (\S+) (\S+) \{")
_NFT_RULE = re.compile(r"\t\t(.+) # handle (\d+)$")


class RuleTexts:
    """Reads the rules of a namespace once, and again when they are others."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Texts]] = {}

    def of(self, ns: str, rules: Sequence[ListedRule], wanted: Collection[tuple[str, str]], own: str) -> Texts:
        """The rules of some tables (family, name) of this thread's namespace, `ns`. `own`: the table of the trace."""
        if not wanted:
            return {}
        state = _state(rules, own), frozenset(wanted)
        if ns not in self._known or self._known[ns][0] != state:
            self._known[ns] = state, texts(ns, rules, wanted)
        return self._known[ns][1]


def _state(rules: Sequence[ListedRule], own: str) -> tuple[object, ...]:
    """What changes whenever a rule does: no two rules of a table ever have the same handle, nor do two tables."""
    handles = [(rule.family, rule.table, rule.handle) for rule in rules if rule.table != own]
    return tuple(item for item in netfilter.table_handles().items() if item[0][1] != own), tuple(handles)


def texts(ns: str, rules: Sequence[ListedRule], wanted: Collection[tuple[str, str]]) -> Texts:
    """The rules of some tables (family, name) of this thread's namespace."""
    found: dict[tuple[str, int], str] = {}
    if any(not _by_iptables(*table) for table in wanted):
        found |= nft_texts(_listed(ns, "nft", "-a", "list", "ruleset"))
    if any(_by_iptables(*table) for table in wanted):
        found |= _saved(_listed(ns, "iptables-nft-save"), rules)  # nft lists them, too, in its own words
    return found


def _by_iptables(family: str, table: str) -> bool:
    return family == "ip" and table in _IPTABLES


def _listed(ns: str, *argv: str) -> str:
    try:
        return restore.listed(*argv, lock=restore.lock_of(ns))
    except NslabError:
        return ""


def _saved(text: str, rules: Iterable[ListedRule]) -> dict[tuple[str, int], str]:
    """Both lists have the rules of a chain in their order. A chain of two lengths has just changed: it is left out."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rule in rules:
        if rule.family == "ip":
            numbers[rule.table, rule.chain].append(rule.handle)
    written: dict[tuple[str, str], list[str]] = defaultdict(list)
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif match := _RULE.match(line):
            written[table, match[1]].append(match[2])
    return {
        (place[0], number): rule
        for place, handles in numbers.items()
        if len(handles) == len(written[place])
        for number, rule in zip(handles, written[place], strict=True)
    }


def nft_texts(text: str) -> dict[tuple[str, int], str]:
    """The rules in what `nft -a list ruleset` prints."""
    found, table = {}, ""
    for line in uncounted(text).splitlines():
        if match := _NFT_TABLE.match(line):
            table = match[2]
        elif match := _NFT_RULE.match(line):
            found[table, int(match[2])] = match[1]
    return found
