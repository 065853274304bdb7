"""What rules have matched between two readings of their counters (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from nslab.trace.counted.shares import drawn
from nslab.trace.counted.values import RuleHit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.trace.counted.names import ServiceNames
    from nslab.trace.counted.values import CountedChain, CountedRule, RuleCounter
    from nslab.trace.observed import ConntrackEntry


class _Key(NamedTuple):
    """A rule in its chain. `turn`: which of several of the same text."""

    table: str
    chain: str
    text: str
    turn: int


def hits(before: Iterable[CountedChain], after: Iterable[CountedChain]) -> Iterator[RuleHit]:
    """The rules whose counters grew. A rule that is new, or whose counter was set back, counts from zero."""
    known = {key: counter for key, _, counter in _counters(before)}
    for key, rule, counter in _counters(after):
        old = known.get(key)
        packets, size = counter
        if old and old.packets <= packets:
            packets, size = packets - old.packets, size - old.bytes
        if packets > 0:
            yield RuleHit(key.table, key.chain, key.text, rule.service, rule.comment, packets, size)


def connection_hit(entry: ConntrackEntry, names: ServiceNames) -> RuleHit | None:
    """A new connection to a Service, where its rules have no counters; None if it is for no Service."""
    found = drawn(entry, names)
    return found and RuleHit("", "", f"{entry.original} => {found[1]}", found[0], names.pods.get(found[1], ""), 1, 0)


def _counters(chains: Iterable[CountedChain]) -> Iterator[tuple[_Key, CountedRule, RuleCounter]]:
    for chain in chains:
        turns: Counter[str] = Counter()
        for rule in chain.rules:
            turns[rule.text] += 1
            if rule.counter:
                yield _Key(chain.table, chain.name, rule.text, turns[rule.text]), rule, rule.counter
