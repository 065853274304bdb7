"""Rules that came and went in one transaction of nf_tables, without those that were only written again (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from nslab.ruletext.comments import comment_of, without_comment
from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.trace.counted.names import ServiceNames


class RuleChange(NamedTuple):
    """A rule that came or went. `text`: as its owner lists it, "" if nobody knows it any more."""

    table: str
    chain: str
    text: str
    added: bool


def rule_events(at: int, host: str, changed: Iterable[RuleChange], names: ServiceNames) -> Iterator[LabEvent]:
    """The rules that are really new or gone: kube-proxy writes a chain as a whole, also where few rules differ."""
    balance: Counter[tuple[str, str, str]] = Counter()
    for one in changed:
        balance[one[:3]] += 1 if one.added else -1
    for (table, chain, text), times in balance.items():
        action = EventAction.ADDED if times > 0 else EventAction.REMOVED
        comment = comment_of(text)
        rule = without_comment(text) if comment else text
        service = names.in_comment(comment) or names.of_chain(chain)
        shown = f"{table} {chain}: {rule or '?'}{f'  # {comment}' if comment else ''}"
        facts = {"table": table, "chain": chain, "rule": rule, "comment": comment, "service": service}
        for _ in range(abs(times)):
            yield LabEvent(at, host, EventKind.RULE, action, shown, facts)
