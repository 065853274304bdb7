"""The verdict: which goals are reached, and what is wrong with the others (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass
from nslab.exercises.targets import target
from nslab.exercises.types import Expect, Show
from nslab.objects.names import pod_host
from nslab.probes import Outcome, Result, Spread, Try
from nslab.probes.spread import uneven

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nslab.exercises.ask import Questions
    from nslab.exercises.types import Ask, Check, Fact, Goal
    from nslab.lab.types import Lab
    from nslab.probes import Call

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """One fault: the question or fact, the kind of fault, and the values of its message."""

    about: Ask | Fact
    kind: str
    values: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Graded:
    """A goal with all its faults. `before`: whether an earlier check found it reached."""

    goal: Goal
    faults: tuple[Failure, ...]
    before: bool = False

    @property
    def reached(self) -> bool:
        """Whether the goal is reached."""
        return not self.faults

    @property
    def lost(self) -> bool:
        """Whether it was reached, and is not any more."""
        return self.before and not self.reached


@dataclass(frozen=True, slots=True)
class Seen:
    """The probers' results for each question, and the output of `ip -j`."""

    tries: Mapping[Ask, tuple[Try, ...]]
    rows: Mapping[tuple[str, Show], Sequence[Row]]


def seen(
    asked: Questions,
    results: Sequence[Result],
    calls: Mapping[Call, tuple[Try, ...]],
    shown: Mapping[tuple[str, Show], Sequence[Row]],
) -> Seen:
    """The probers' results by the questions of the check."""
    by_probe = {one.probe: one for one in results}
    tries: dict[Ask, tuple[Try, ...]] = {ask: (_echo(by_probe[probe]),) for ask, probe in asked.probes.items()}
    tries |= {ask: calls[call] for ask, call in asked.calls.items()}
    return Seen(tries, {key: _rows(key[1], rows) for key, rows in shown.items()})


def grade(check: Check, lab: Lab, found: Seen, before: Collection[str] = ()) -> tuple[Graded, ...]:
    """Every goal with its faults. `before`: the ids of those that an earlier check found reached."""
    return tuple(Graded(goal, tuple(_faults(goal, lab, found)), goal.name in before) for goal in check.goals)


def next_one(graded: Sequence[Graded]) -> tuple[int, Graded] | None:
    """The goal to work on, with its number: the first that is lost, or else not reached; None if all are reached."""
    missed = [(number, one) for number, one in enumerate(graded, 1) if not one.reached]
    return next(((number, one) for number, one in missed if one.lost), missed[0] if missed else None)


def done(graded: Sequence[Graded]) -> bool:
    """Whether the exercise is done: all goals except extra ones are reached."""
    return all(one.reached for one in graded if not one.goal.extra)


def _faults(goal: Goal, lab: Lab, found: Seen) -> Iterator[Failure]:
    for ask in goal.asks:
        if fault := _asked(ask, lab, found):
            yield fault
    for fact in goal.facts:
        rows = found.rows.get((fact.host, fact.show), ())
        if fact.has and not any(_fits(row, fact.has) for row in rows):
            yield Failure(fact, "lacks")
        if fact.has_not and any(_fits(row, fact.has_not) for row in rows):
            yield Failure(fact, "has")


def _asked(ask: Ask, lab: Lab, found: Seen) -> Failure | None:
    tries = found.tries[ask]
    wrong = [one for one in tries if not _as_expected(ask.expect, one.outcome)]
    if wrong:
        outcome = Counter(one.outcome for one in wrong).most_common(1)[0][0]
        return Failure(ask, "came to", (len(wrong), len(tries), outcome))
    if ask.expect is not Expect.OK or ask.source == target(lab, ask.target).host:
        return None
    return _who(ask, lab, tries) or _whom(ask, found, tries)


def _as_expected(expect: Expect, outcome: Outcome) -> bool:
    match expect:
        case Expect.OK:
            return outcome is Outcome.REACHED
        case Expect.REFUSED:
            return outcome is Outcome.REFUSED
    return outcome not in (Outcome.REACHED, Outcome.REFUSED, Outcome.ENDED)


def _who(ask: Ask, lab: Lab, tries: Sequence[Try]) -> Failure | None:
    """The fault if the wrong endpoints answered, or unevenly; else None."""
    names = {pod_host(pod.namespace, pod.name): pod.uts_name for pod in lab.pods}
    host = target(lab, ask.target).host
    expected = [names[name] for name in ask.answers or ((host,) if host in names else ())]
    answered = [one.hostname for one in tries if one.hostname]
    if not expected or not answered:
        return None
    if others := sorted({*answered} - {*expected}):
        return Failure(ask, "answered by", (", ".join(others), ", ".join(expected)))
    if silent := [name for name in expected if name not in answered]:
        return Failure(ask, "never answered by", (", ".join(silent),))
    counts = Counter(answered)
    if uneven(Spread.CHANCE, answered, expected):
        return Failure(ask, "uneven", (", ".join(f"{name} {counts[name]}" for name in expected),))
    return None


def _whom(ask: Ask, found: Seen, tries: Sequence[Try]) -> Failure | None:
    """The fault if the servers saw another source address than `seen_as`; else None."""
    if not ask.seen_as:
        return None
    rows = found.rows.get((ask.seen_as, Show.ADDRESS), ())
    own = {str(row.get("local")) for row in rows}
    others = sorted({str(one.seen_from) for one in tries} - own)
    return Failure(ask, "seen as", (", ".join(others), ask.seen_as)) if others else None


def _echo(result: Result) -> Try:
    """A probe's result as one try. For `blocked`, arrival counts as reached even if the reply is lost."""
    arrived = result.probe.expected == "fail" and bool(result.arrived_at)
    return Try(Outcome.REACHED if arrived else result.outcome, "", result.seen_from, result.detail, result.ms)


def _rows(show: Show, rows: Sequence[Row]) -> Sequence[Row]:
    """Addresses as separate entries, each with its interface's name."""
    if show is not Show.ADDRESS:
        return rows
    return [{"ifname": row.get("ifname"), **address} for row in rows for address in row.get("addr_info", ())]


def _fits(row: Row, values: Sequence[tuple[str, str]]) -> bool:
    return all(str(row.get(name)) == value for name, value in values)
