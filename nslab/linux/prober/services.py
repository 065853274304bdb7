"""Runs the calls of `nslab.probes.services`: connections from every namespace, from one thread.

First each pod looks up the names that it uses. Then come the calls that must be refused; those that must be answered;
alone, the many connections that show how a Service spreads its answers (others would take some of their turns); last,
those that must time out. A call without an answer runs again, with fewer at a time, before it counts as failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.linux.prober.attempts import Lookup, Trial
from nslab.linux.prober.loop import AttemptRunner
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
"""The outcomes that a server with too many clients may cause."""
MANY = 20
"""A call with so many connections counts outcomes."""
_DRAWS = 4
"""Connections per endpoint that show a silent endpoint: a single one in 98 of 100 cases."""


def ask_services(
    spaces: Namespaces,
    lab: str,
    survey: ServiceSurvey,
    dns: IPv4Address | None,
    timing: Timing = DEFAULT,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[CallResult]:
    """Run the calls and return their results in the same order, those about the spread last."""
    questions = (*survey.calls, *survey.spread)
    loop = AttemptRunner(spaces, lab, timing)
    try:
        names = _looked_up(loop, questions, dns)
        tries = {call: _trials(call, names, call.times) for call in questions}
        rounds = _rounds(survey)
        for done, calls in enumerate(rounds):
            loop.run([trial for call in calls for trial in tries[call]])
            doubtful = [call for call in calls if _is_doubtful(call, tries[call])]
            # A call with many connections counts each outcome, and its server takes them all, as agnhost does.
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
    """Whether an answer is expected."""
    return call.outcome is not Outcome.TIMED_OUT and not call.lost


def _is_doubtful(call: Call, trials: Iterable[Trial]) -> bool:
    """Whether the outcome may differ with fewer calls at a time. (Refusals run one by one anyway.)"""
    answered = _must(call) and call.outcome is not Outcome.REFUSED
    return answered and any(trial.outcome in _DOUBTFUL and trial.outcome is not call.outcome for trial in trials)


def _looked_up(loop: AttemptRunner, calls: Iterable[Call], dns: IPv4Address | None) -> Names:
    """Look up each name from each pod that uses it."""
    names = {(call.source, call.name): Lookup(call, dns) for call in calls if call.name and dns}
    loop.run([*names.values()])
    again = {key: found.repeated() for key, found in names.items() if found.outcome is Outcome.TIMED_OUT}
    loop.run([*again.values()])
    return names | again


def _trials(call: Call, names: Names, times: int, *, alone: bool = False) -> list[Trial]:
    """Make a call's connections, to its addresses in turn; for a name, to those that DNS returned."""
    found = names[call.source, call.name].addresses if call.name else call.addresses
    made: list[Trial] = []
    for turn in range(times if found else 0):
        made.append(Trial(call, found[turn % len(found)], made if alone else None))
    return made


def _again(loop: AttemptRunner, calls: Sequence[Call], names: Names) -> dict[Call, list[Trial]]:
    """Run the connections again; with several endpoints, enough of them to show one that is silent."""
    ends = {call: len(call.answers) for call in calls}
    times = {call: max(call.times, _DRAWS * ends[call]) if ends[call] > 1 else call.times for call in calls}
    again = {call: _trials(call, names, times[call], alone=True) for call in calls}
    loop.run([trial for trials in again.values() for trial in trials])
    # With one endpoint the second run decides. With several it decides only if it reaches them all: otherwise its
    # connections need not include the silent endpoint.
    known = [call for call in calls if ends[call] < 2 or all(trial.outcome is Outcome.REACHED for trial in again[call])]
    return {call: again[call][: call.times] for call in known}


def _result(call: Call, tries: Iterable[Trial], lookup: Lookup | None) -> CallResult:
    reported = ""
    if lookup:
        wrong = {*lookup.addresses} != {*call.addresses}
        reported = f"DNS: {lookup.reported}" if lookup.reported else ""
        if wrong and not reported:
            reported = f"DNS says {', '.join(map(str, sorted(lookup.addresses)))}"
    return CallResult(call, tuple(trial.result() for trial in tries), reported)
