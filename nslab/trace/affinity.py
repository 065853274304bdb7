"""The ClientIP affinity that a packet leaves behind: its sender keeps the endpoint that was drawn (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.trace.observed import Crossing, Visit

_RECENT = re.compile(r"-m recent --set (?:.* )?--name (\S+)")
_NFT = re.compile(r"\b(?:update|add) @(\S+) \{ ip saddr\b")


class Pinned(NamedTuple):
    """An entry that the packet made or renewed. `table`: of the nft set `name`; "" for a list of `-m recent`.

    `renewed`: it was there before.
    """

    host: str
    table: str
    name: str
    source: IPv4Address
    renewed: bool


def pinned(crossings: Iterable[Crossing]) -> Iterator[Pinned]:
    """The entries, as the rules say that matched."""
    for crossing in crossings:
        for visit in crossing.visits:
            yield from _pinned(crossing.host, visit)


def _pinned(host: str, visit: Visit) -> Iterator[Pinned]:
    source = visit.header.source
    rules = [match.rule for match in visit.matches]
    for rule in rules:
        if found := _RECENT.search(rule):
            asked = re.compile(rf"--rcheck .*--name {re.escape(found[1])}(?=\s|$)")
            yield Pinned(host, "", found[1], source, any(map(asked.search, rules)))
        elif found := _NFT.search(rule):
            asked = re.compile(rf"ip saddr @{re.escape(found[1])}(?=\s|$)")
            yield Pinned(host, visit.table, found[1], source, any(map(asked.search, rules)))
