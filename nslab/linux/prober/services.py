"""Asks Services what `nslab.probes.services` wants to know: connections out of every namespace, from one thread.

First names are looked up, each by the pod that uses it; then all is asked that must be refused, then what must be
answered; then, by themselves, the many connections that show how answers are spread (others would take turns of
theirs); last, what must be silence. What is not answered is asked again, with less else under way, before it is judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.linux.prober.attempts import Lookup, Trial
from nslab.linux.prober.loop import Loop
from nslab.linux.prober.talk import DEFAULT
from nslab.probes import Outcome
from nslab.probes.calls import Call, CallResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Address
    from typing import TypeAlias

    from nslab.linux.netns import Namespaces
    from nslab.linux.prober.talk import Timing
    from nslab.probes.services import ServiceSurvey

    Names: TypeAlias = dict[tuple[str, str], Lookup]

_DOUBTFUL = (Outcome.TIMED_OUT, Outcome.REFUSED, Outcome.ENDED)
"""What a server that has too many clients may do."""
MANY = 20
"""So many connections of a call are asked for to count what becomes of them."""
_DRAWS = 4
"""Connections per endpoint, by which it is known that none is silent: a single one would show in 98 of 100 cases."""


def ask_services(
    spaces: Namespaces,
    lab: str,
    survey: ServiceSurvey,
    dns: IPv4Address | None,
    timing: Timing = DEFAULT,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[CallResult]:
    """The answers, in the order of the questions, those about the spread last."""
    questions = (*survey.calls, *survey.spread)
    loop = Loop(spaces, lab, timing)
    try:
        names = _looked_up(loop, questions, dns)
        tries = {call: _trials(call, names, call.times) for call in questions}
        rounds = _rounds(survey)
        for done, calls in enumerate(rounds):
            loop.run([trial for call in calls for trial in tries[call]])
            doubtful = [call for call in calls if _is_doubtful(call, tries[call])]
            # Of many it counts what becomes of each; and who is asked so often has room for all, as agnhost has.
            tries |= _again(loop, [call for call in doubtful if call.times < MANY or not call.asks], names)
            progress(done + 1, len(rounds))
    finally:
        loop.close()
        spaces.home()
    return [_result(call, tries[call], names.get((call.source, call.name))) for call in questions]


def _rounds(survey: ServiceSurvey) -> tuple[Sequence[Call], ...]:
    refused = [call for call in survey.calls if call.outcome is Outcome.REFUSED]
    others = [call for call in survey.calls if call.outcome is not Outcome.REFUSED]
    silent = [call for call in others if not _must(call)]
    return refused, [call for call in others if _must(call)], survey.spread, silent


def _must(call: Call) -> bool:
    """Whether an answer must come."""
    return call.outcome is not Outcome.TIMED_OUT and not call.lost


def _is_doubtful(call: Call, trials: Iterable[Trial]) -> bool:
    """Whether what came may be otherwise if less is asked at once. (Refusals are asked for one by one anyway.)"""
    asked = _must(call) and call.outcome is not Outcome.REFUSED
    return asked and any(one.outcome in _DOUBTFUL and one.outcome is not call.outcome for one in trials)


def _looked_up(loop: Loop, calls: Iterable[Call], dns: IPv4Address | None) -> Names:
    """What DNS says to each pod that uses a name."""
    names = {(call.source, call.name): Lookup(call, dns) for call in calls if call.name and dns}
    loop.run([*names.values()])
    again = {key: found.repeated() for key, found in names.items() if found.outcome is Outcome.TIMED_OUT}
    loop.run([*again.values()])
    return names | again


def _trials(call: Call, names: Names, times: int, *, alone: bool = False) -> list[Trial]:
    """Connections, each to one of the call's addresses; for a name, where DNS says."""
    found = names[call.source, call.name].addresses if call.name else call.addresses
    made: list[Trial] = []
    for turn in range(times if found else 0):
        made.append(Trial(call, found[turn % len(found)], made if alone else None))
    return made


def _again(loop: Loop, calls: Sequence[Call], names: Names) -> dict[Call, list[Trial]]:
    """The same connections once more; of several endpoints so many that one which is silent would show."""
    ends = {call: len(call.answers) for call in calls}
    times = {call: max(call.times, _DRAWS * ends[call]) if ends[call] > 1 else call.times for call in calls}
    again = {call: _trials(call, names, times[call], alone=True) for call in calls}
    loop.run([trial for trials in again.values() for trial in trials])
    # One endpoint says no more by its silence than it said before; one of many may not be drawn again.
    known = [call for call in calls if ends[call] < 2 or all(one.outcome is Outcome.REACHED for one in again[call])]
    return {call: again[call][: call.times] for call in known}


def _result(call: Call, tries: Iterable[Trial], lookup: Lookup | None) -> CallResult:
    reported = ""
    if lookup:
        wrong = {*lookup.addresses} != {*call.addresses}
        reported = f"DNS: {lookup.reported}" if lookup.reported else ""
        if wrong and not reported:
            reported = f"DNS says {', '.join(map(str, sorted(lookup.addresses)))}"
    return CallResult(call, tuple(one.result() for one in tries), reported)
