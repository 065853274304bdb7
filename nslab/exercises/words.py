"""Verdicts as text in each language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.exercises.types import Ask, Expect, Language
from nslab.korean import particle
from nslab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.exercises.grade import Failure, Graded

_ENGLISH: Mapping[str, str] = {
    "yes": "reached",
    "not yet": "not yet",
    "lost": "lost",
    "extra": "extra",
    "far": "{0} of {1} goals reached",
    "more": "{0} of {1} extra",
    "next": "Next, {0}: {1}",
    "again": "Reached before, and lost again, {0}: {1}",
    "hint": "Hint: {0}",
    "ask": "{0} asks {1} by {2}",
    "but": "{0}; {1}",
    "came to": "{2}",
    "some came to": "{0} of {1} times: {2}",
    "twice came to": "{0} of {1} times, though tried twice: {2}",
    "must ok": "it should be answered",
    "must refused": "it should be refused",
    "must blocked": "there should be no reply",
    "answered by": "answered by {0}; it should be {1}",
    "never answered by": "{0} never answers",
    "uneven": "not evenly spread: {0}",
    "seen as": "the server sees {0}; it should be an address of {1}",
    "fact": "`ip {0}` in {1}",
    "lacks": "there should be an entry with {0}",
    "has": "there should be no entry with {0}",
    **{outcome: outcome for outcome in Outcome},
    Outcome.REACHED: "answered",
}
_KOREAN: Mapping[str, str] = {
    "yes": "통과",
    "not yet": "아직",
    "lost": "깨짐",
    "extra": "추가",
    "far": "목표 {1}개 중 {0}개 통과",
    "more": "추가 목표 {1}개 중 {0}개",
    "next": "다음은 {0}번: {1}",
    "again": "통과했다가 다시 깨진 {0}번: {1}",
    "hint": "힌트: {0}",
    "ask": "{0} → {1} ({2})",
    "but": "{0}. {1}",
    "came to": "{2}",
    "some came to": "{1}번 중 {0}번: {2}",
    "twice came to": "{1}번 중 {0}번, 두 번씩 시도해도: {2}",
    "must ok": "응답이 와야 합니다",
    "must refused": "거부되어야 합니다",
    "must blocked": "아무 응답도 없어야 합니다",
    "answered by": "{0:이/가} 응답했습니다. {1:이어야/여야} 합니다",
    "never answered by": "{0:은/는} 한 번도 응답하지 않았습니다",
    "uneven": "고르게 나뉘지 않았습니다: {0}",
    "seen as": "서버에 {0:으로/로} 보입니다. {1}의 주소여야 합니다",
    "fact": "{1}의 `ip {0}`",
    "lacks": "{0} 항목이 있어야 합니다",
    "has": "{0} 항목이 없어야 합니다",
    Outcome.REACHED: "응답이 왔습니다",
    Outcome.REFUSED: "거부되었습니다",
    Outcome.UNREACHABLE: "갈 길이 없습니다",
    Outcome.TOO_BIG: "패킷이 너무 큽니다",
    Outcome.TIMED_OUT: "시간이 지나도 응답이 없습니다",
    Outcome.ABSENT: "호스트가 없습니다",
    Outcome.ENDED: "응답 없이 끊겼습니다",
}
_WORDS = {Language.ENGLISH: _ENGLISH, Language.KOREAN: _KOREAN}


class _Value(str):
    """A value in a message; "{0:이/가}" appends the Korean particle that fits its pronunciation."""

    __slots__ = ()

    def __format__(self, particles: str) -> str:
        return particle(self, *particles.split("/")) if particles else self


def word(language: Language, key: str, *values: object) -> str:
    """One phrase, filled in."""
    return _WORDS[language][key].format(*map(_Value, values))


def sentence(fault: Failure, language: Language) -> str:
    """A fault as a sentence: what was observed, and what is expected."""
    about, values = fault.about, fault.values
    if not isinstance(about, Ask):
        pairs = about.has if fault.kind == "lacks" else about.has_not
        fields = " ".join(f"{name}={value}" for name, value in pairs)
        return f"{word(language, 'fact', about.show, about.host)}: {word(language, fault.kind, fields)}"
    who = word(language, "ask", about.source, about.target, about.by)
    if fault.kind != "came to":
        return f"{who}: {word(language, fault.kind, *values)}"
    wrong, times, outcome = values
    assert isinstance(outcome, Outcome)
    some = "twice came to" if about.expect is Expect.OK else "some came to"  # see `rounds`
    key = "came to" if wrong == times else some
    came = word(language, key, wrong, times, word(language, outcome))
    must = {Expect.OK: "must ok", Expect.REFUSED: "must refused", Expect.BLOCKED: "must blocked"}[about.expect]
    return f"{who}: {word(language, 'but', came, word(language, must))}"


def summary(graded: Sequence[Graded], language: Language) -> str:
    """The number of reached goals, in words."""
    parts = []
    for key, extra in (("far", False), ("more", True)):
        some = [one.reached for one in graded if one.goal.extra is extra]
        if some:
            parts.append(word(language, key, sum(some), len(some)))
    return ", ".join(parts)
