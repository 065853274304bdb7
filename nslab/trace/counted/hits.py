"""What rules have matched between two readings of their counters (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from nslab.trace.counted.shares import drawn
from nslab.trace.counted.values import RuleHit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.trace.counted.names import ServiceNames
    from nslab.trace.counted.values import CountedChain, CountedRule, RuleCounter
    from nslab.trace.observed import ConntrackEntry


class _Key(NamedTuple):
    """A rule in its chain. `turn`: which of several of the same text."""

    table: str
    chain: str
    text: str
    turn: int


def hits(before: Iterable[CountedChain], after: Sequence[CountedChain]) -> Iterator[RuleHit]:
    """The rules whose counters grew, in the order in which a packet meets them: that of the base chains in `after`.

    A rule that is new, or whose counter was set back, counts from zero.
    """
    known = {key: rule.counter for chain in before for key, rule in _rules(chain)}
    walk = _HitWalk(after, known)
    for chain in sorted(after, key=lambda chain: not chain.hook):  # to the last ones leads no rule that has a hit
        yield from walk.through(chain)


class _HitWalk:
    """Goes through each chain once, where the first rule that has matched leads to it."""

    def __init__(self, chains: Iterable[CountedChain], known: Mapping[_Key, RuleCounter | None]) -> None:
        self._chains = {(chain.table, chain.name): chain for chain in chains}
        self._known, self._done = known, set[tuple[str, str]]()

    def through(self, chain: CountedChain) -> Iterator[RuleHit]:
        """The hits in a chain, and where its rules have led packets."""
        if (chain.table, chain.name) in self._done:
            return
        self._done.add((chain.table, chain.name))
        for key, rule in _rules(chain):
            hit = _grown(key, rule, self._known.get(key))
            if hit:
                yield hit
            for branch in rule.branches if hit or not rule.counter else ():
                if below := self._chains.get((chain.table, branch.chain)):
                    yield from self.through(below)


def _grown(key: _Key, rule: CountedRule, old: RuleCounter | None) -> RuleHit | None:
    if not rule.counter:
        return None
    packets, size = rule.counter
    if old and old.packets <= packets:
        packets, size = packets - old.packets, size - old.bytes
    return RuleHit(key.table, key.chain, key.text, rule.service, rule.comment, packets, size) if packets > 0 else None


def connection_hit(entry: ConntrackEntry, names: ServiceNames) -> RuleHit | None:
    """A new connection to a Service, where its rules have no counters; None if it is for no Service."""
    found = drawn(entry, names)
    return found and RuleHit("", "", f"{entry.original} => {found[1]}", found[0], names.pods.get(found[1], ""), 1, 0)


def _rules(chain: CountedChain) -> Iterator[tuple[_Key, CountedRule]]:
    turns: Counter[str] = Counter()
    for rule in chain.rules:
        turns[rule.text] += 1
        yield _Key(chain.table, chain.name, rule.text, turns[rule.text]), rule
