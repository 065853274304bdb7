"""The order of connections: one first, many only if the first is answered, and a retry of each lost one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nslab.probes import Call, CallResult, Try

MANY = 20
"""From this number of connections on, their distribution matters; they run when no others do."""


def ask_all(
    calls: Sequence[Call], ask: Callable[[Sequence[Call]], Sequence[CallResult]]
) -> dict[Call, tuple[Try, ...]]:
    """Every call's tries; `ask` makes connections, and makes those of a call with few of them again where one is lost.

    An unanswered call is not repeated hundreds of times: that takes long, and conntrack keeps each connection for two
    minutes (SYN_SENT) without NAT. A later connection from the same port matches that entry and gets lost, even if the
    rules are right by then; so of many connections each lost one is tried once more.
    """
    unique = [*dict.fromkeys(calls)]
    first = _asked({call: 1 if call.times >= MANY else call.times for call in unique}, ask)
    answered = [call for call, tries in first.items() if call.times >= MANY and not _lost(call, tries)]
    rest = _once_more(_asked({call: call.times - 1 for call in answered}, ask), ask)
    return {call: (*tries, *rest.get(call, ())) for call, tries in first.items()}


def _asked(
    times: Mapping[Call, int], ask: Callable[[Sequence[Call]], Sequence[CallResult]]
) -> dict[Call, tuple[Try, ...]]:
    """The given number of tries of each call."""
    sent = {call: replace(call, times=number) for call, number in times.items() if number}
    results = {result.call: result.tries for result in ask([*dict.fromkeys(sent.values())])} if sent else {}
    return {call: results[one] for call, one in sent.items()}


def _once_more(
    tried: Mapping[Call, tuple[Try, ...]], ask: Callable[[Sequence[Call]], Sequence[CallResult]]
) -> dict[Call, tuple[Try, ...]]:
    """The same tries, with each lost one replaced by a second try."""
    second = _asked({call: len(_lost(call, tries)) for call, tries in tried.items()}, ask)
    kept = {call: [one for one in tries if one not in _lost(call, tries)] for call, tries in tried.items()}
    return {call: (*kept[call], *second.get(call, ())) for call in tried}


def _lost(call: Call, tries: Sequence[Try]) -> list[Try]:
    """The tries that are unanswered, but should not be."""
    return [one for one in tries if call.outcome is Outcome.REACHED and one.outcome is not Outcome.REACHED]
