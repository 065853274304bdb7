"""In which order connections are asked for: one first, many only where one is answered, and what got lost once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nslab.probes import Call, CallResult, Try

MANY = 20
"""So many connections show how answers are spread. They are made when no others are."""


def ask_all(
    calls: Sequence[Call], ask: Callable[[Sequence[Call]], Sequence[CallResult]]
) -> dict[Call, tuple[Try, ...]]:
    """Every call's tries; `ask` makes connections.

    What nobody answers is not asked hundreds of times: that would take long, and each of these connections would be
    remembered for two minutes as one that is not translated (conntrack's SYN_SENT). One that comes from the same port
    by then gets lost, whatever the rules now say; so what got lost is tried once more.
    """
    unique = [*dict.fromkeys(calls)]
    first = _once_more(_asked({call: 1 if call.times >= MANY else call.times for call in unique}, ask), ask)
    answered = [call for call, tries in first.items() if call.times >= MANY and not _lost(call, tries)]
    rest = _once_more(_asked({call: call.times - 1 for call in answered}, ask), ask)
    return {call: (*tries, *rest.get(call, ())) for call, tries in first.items()}


def _asked(
    times: Mapping[Call, int], ask: Callable[[Sequence[Call]], Sequence[CallResult]]
) -> dict[Call, tuple[Try, ...]]:
    """So many tries of each call."""
    sent = {call: replace(call, times=number) for call, number in times.items() if number}
    heard = {result.call: result.tries for result in ask([*dict.fromkeys(sent.values())])} if sent else {}
    return {call: heard[one] for call, one in sent.items()}


def _once_more(
    heard: Mapping[Call, tuple[Try, ...]], ask: Callable[[Sequence[Call]], Sequence[CallResult]]
) -> dict[Call, tuple[Try, ...]]:
    """The same, with a second try in the place of each that got lost."""
    second = _asked({call: len(_lost(call, tries)) for call, tries in heard.items()}, ask)
    kept = {call: [one for one in tries if one not in _lost(call, tries)] for call, tries in heard.items()}
    return {call: (*kept[call], *second.get(call, ())) for call in heard}


def _lost(call: Call, tries: Sequence[Try]) -> list[Try]:
    """Those that should have been answered, and were not."""
    return [one for one in tries if call.outcome is Outcome.REACHED and one.outcome is not Outcome.REACHED]
