"""The rules of iptables with their counters, as `iptables-save -c` prints them (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from nslab.ruletext.comments import comment_of, without_comment
from nslab.ruletext.saved import BUILT_IN, tables, target
from nslab.trace.chances import chances
from nslab.trace.counted.values import ChainBranch, CountedChain, CountedRule, RuleCounter
from nslab.trace.rules.ruleset import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from nslab.ruletext.saved import DumpedChain
    from nslab.trace.counted.names import ServiceNames

    Writer: TypeAlias = Callable[[str, str, str], str]
    """Who wrote a rule: of a table, of a chain, its text without its comment."""
    Counters: TypeAlias = Mapping[tuple[str, str], Sequence[RuleCounter]]
    """Those of the rules of each chain (table and name), in their order."""

_RULE = re.compile(r"\[(\d+):(\d+)\] -A ")
_POLICY = re.compile(r":\S+ \S+ \[(\d+):(\d+)\]$")
LEGACY = " (legacy)"
"""What follows the name of a table of iptables-legacy, where the other variant has tables, too."""


def iptables_chains(
    saved: str, names: ServiceNames, writer: Writer, counters: Counters | None = None, *, legacy: str | None = None
) -> list[CountedChain]:
    """The chains of a node. `counters`: None if `saved` has them. Raises UsageError for what nobody prints.

    `legacy`: what follows the names of the legacy variant's tables, None for the other, which does not count policies.
    """
    lines = saved.split("\n")
    policies = {} if legacy is None else _policies(lines)
    found = []
    for table, dumped in tables(saved).items():
        for chain in dumped.values():
            counted = _counted(lines, chain) if counters is None else [*counters.get((table, chain.name), ())]
            rules = _ChainReader(table, chain, dumped.keys(), names, writer).rules(counted)
            counter = policies.get((table, chain.name))
            hook, priority = _hook(table, chain.name)
            shown = f"{table}{legacy or ''}"
            found.append(CountedChain(shown, chain.name, rules, hook, priority, chain.policy, counter))
    return found


def _hook(table: str, chain: str) -> tuple[str, int]:
    """The hook that calls a chain, and its priority there; "" and 0 if none does."""
    if chain not in BUILT_IN[table]:
        return "", 0
    return chain, 100 if table == "nat" and chain in ("INPUT", "POSTROUTING") else PRIORITIES[table]


def _counted(lines: Sequence[str], chain: DumpedChain) -> list[RuleCounter]:
    found = (_RULE.match(lines[number - 1]) for number in chain.lines)
    return [RuleCounter(int(one[1]), int(one[2])) for one in found if one]


def _policies(lines: Sequence[str]) -> dict[tuple[str, str], RuleCounter]:
    """The counters of policies, by table and chain."""
    found, table = {}, ""
    for line in lines:
        if line[:1] == "*":
            table = line[1:].strip()
        elif line[:1] == ":" and (policy := _POLICY.match(line)):
            found[table, line[1:].partition(" ")[0]] = RuleCounter(int(policy[1]), int(policy[2]))
    return found


class _ChainReader:
    """Reads the rules of a chain. `known`: the chains of its table."""

    def __init__(self, table: str, chain: DumpedChain, known: Container[str], names: ServiceNames, by: Writer) -> None:
        self._table, self._chain, self._known, self._names, self._by = table, chain, known, names, by

    def rules(self, counters: Sequence[RuleCounter]) -> tuple[CountedRule, ...]:
        """Its rules, without counters if there are none for each of them: the chain has just changed."""
        drawn = chances([*enumerate(self._chain.rules)])
        known = counters if len(counters) == len(self._chain.rules) else [None] * len(self._chain.rules)
        return tuple(
            self._rule(text, counter, drawn.get(number, 1.0))
            for number, (text, counter) in enumerate(zip(self._chain.rules, known, strict=True))
        )

    def _rule(self, rule: str, counter: RuleCounter | None, chance: float) -> CountedRule:
        comment, to, text = comment_of(rule), target(rule), without_comment(rule)
        service = self._names.in_comment(comment) or self._names.of_chain(self._chain.name)
        branches = (ChainBranch(to, service=self._names.of_chain(to)),) if to in self._known else ()
        return CountedRule(
            text, comment, counter, branches, self._by(self._table, self._chain.name, text), service, chance
        )
