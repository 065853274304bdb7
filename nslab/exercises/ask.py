"""The probes, calls and `ip -j` outputs that a check needs (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.exercises.targets import target
from nslab.exercises.types import By, Expect, Show
from nslab.probes import Call, Expected, Kind, Outcome, Probe, Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.exercises.types import Ask, Check
    from nslab.lab.types import Lab

_OUTCOME = {Expect.OK: Outcome.REACHED, Expect.REFUSED: Outcome.REFUSED, Expect.BLOCKED: Outcome.TIMED_OUT}


@dataclass(frozen=True, slots=True)
class Questions:
    """Each question of a check as a probe or a call, and the (host, object) of each `ip -j` output."""

    probes: Mapping[Ask, Probe]
    calls: Mapping[Ask, Call]
    shows: tuple[tuple[str, Show], ...]


def questions(check: Check, lab: Lab) -> Questions:
    """Everything that grading a check needs. The lab's pods have addresses."""
    asks = dict.fromkeys(ask for goal in check.goals for ask in goal.asks)
    facts = [(fact.host, fact.show) for goal in check.goals for fact in goal.facts]
    seen = [(ask.seen_as, Show.ADDRESS) for ask in asks if ask.seen_as]
    return Questions(
        {ask: _probe(ask, lab) for ask in asks if ask.by is By.ICMP},
        {ask: _call(ask, lab) for ask in asks if ask.by is not By.ICMP},
        _unique((*facts, *seen)),
    )


def _unique(shows: Iterable[tuple[str, Show]]) -> tuple[tuple[str, Show], ...]:
    return tuple(dict.fromkeys(shows))


def _probe(ask: Ask, lab: Lab) -> Probe:
    to = target(lab, ask.target)
    expected = Expected.REACH if ask.expect is Expect.OK else Expected.FAIL
    return Probe(ask.source, to.host, to.address, Kind.ICMP, expected=expected)


def _call(ask: Ask, lab: Lab) -> Call:
    to = target(lab, ask.target)
    return Call(
        ask.source, ask.target, "", "TCP", Way.CLUSTER_IP, "", (to.address,), to.port,
        _OUTCOME[ask.expect], asks=ask.by is By.HTTP, times=ask.times,
    )  # fmt: skip
