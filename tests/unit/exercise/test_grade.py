"""Verdicts on what was seen: each kind of fault, by values that no kernel was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.exercises.ask import questions
from nslab.exercises.grade import Graded, Seen, done, grade, next_one, seen
from nslab.exercises.report import junit, to_json
from nslab.exercises.rounds import ask_all
from nslab.exercises.types import Ask, By, Check, Expect, Fact, Goal, Language, Show, Translated
from nslab.exercises.words import _ENGLISH, _KOREAN, sentence, summary
from nslab.lab.find import folder
from nslab.probes import CallResult, Outcome, Result, Try

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.probes import Call

LAB = assign_addresses(load(folder() / "services-iptables" / "lab.yaml"))
PODS = [f"web-{number}" for number in range(2)]
BOX, OTHER = (pod.name for pod in LAB.pods[:2])
ADDRESS = {pod.name: pod.assigned for pod in LAB.pods}
HTTP = Ask("client", f"{BOX}:8080", By.HTTP)
ROWS = {("node1", Show.ADDRESS): [{"ifname": "eth0", "local": "192.168.59.22"}]}


def verdict(ask: Ask, *tries: Try) -> str:
    """What is said of one question's answers; "" if they are right."""
    goal = Goal("g", Translated("t"), Translated("h"), (ask,))
    (graded,) = grade(Check((goal,)), LAB, Seen({ask: tries}, ROWS))
    assert graded.reached is (not graded.faults)
    return "".join(sentence(fault, Language.ENGLISH).partition(": ")[2] for fault in graded.faults)


def reached(name: str = BOX, source: str = "192.168.59.22") -> Try:
    return Try(Outcome.REACHED, name, IPv4Address(source))


SILENT, NO, GONE = Try(Outcome.TIMED_OUT), Try(Outcome.REFUSED), Try(Outcome.UNREACHABLE)


@pytest.mark.parametrize(
    ("ask", "tries", "wrong"),
    [
        (HTTP, [reached()], ""),
        (HTTP, [SILENT], "timed out; it should be answered"),
        (HTTP, [reached(), NO, SILENT, SILENT], "3 of 4 times, though tried twice: timed out; it should be answered"),
        (HTTP, [reached("stranger")], f"answered by stranger; it should be {BOX}"),
        (replace(HTTP, seen_as="node1"), [reached()], ""),
        (replace(HTTP, seen_as="node1"), [reached(source="10.0.0.1")],
         "the server sees 10.0.0.1; it should be an address of node1"),
        (replace(HTTP, expect=Expect.REFUSED), [NO], ""),
        (replace(HTTP, expect=Expect.REFUSED), [SILENT], "timed out; it should be refused"),
        (replace(HTTP, expect=Expect.REFUSED), [reached()], "answered; it should be refused"),
        (replace(HTTP, expect=Expect.BLOCKED), [SILENT], ""),
        (replace(HTTP, expect=Expect.BLOCKED), [GONE], ""),
        (replace(HTTP, expect=Expect.BLOCKED), [NO], "refused; there should be no reply"),
        (replace(HTTP, expect=Expect.BLOCKED), [Try(Outcome.ENDED)], "ended; there should be no reply"),
        (replace(HTTP, expect=Expect.BLOCKED), [reached()], "answered; there should be no reply"),
        (replace(HTTP, by=By.TCP), [Try(Outcome.REACHED)], ""),
    ],
)  # fmt: skip
def test_an_answer_is_what_should_be_or_said_to_be_something_else(ask: Ask, tries: list[Try], wrong: str) -> None:
    assert verdict(ask, *tries) == wrong


def test_who_asks_himself_proves_nothing_of_the_network() -> None:
    ask = Ask(BOX, f"{BOX}:8080", By.HTTP, seen_as="node1")
    assert verdict(ask, reached(source="127.0.0.1")) == ""
    assert verdict(ask, NO) == "refused; it should be answered"


def test_what_the_probers_are_asked() -> None:
    asks = (HTTP, replace(HTTP, by=By.TCP), replace(HTTP, target="svc/web:81", times=5))
    calls = [*questions(Check((Goal("g", asks=asks),)), LAB).calls.values()]
    assert [(str(call.addresses[0]), call.port, call.asks, call.times) for call in calls] == [
        (str(ADDRESS[BOX]), 8080, True, 1),
        (str(ADDRESS[BOX]), 8080, False, 1),
        (str(next(one.cluster_ip for one in LAB.services if one.name == "web")), 81, True, 5),
    ]


def test_answers_are_spread_evenly_over_those_that_are_named() -> None:
    ask = Ask("client", f"{BOX}:8080", By.HTTP, times=100, answers=(BOX, OTHER))
    assert verdict(ask, *[reached(BOX), reached(OTHER)] * 50) == ""
    assert verdict(ask, *[reached(BOX)] * 100) == f"{OTHER} never answers"
    assert verdict(ask, *[reached(BOX)] * 90, *[reached(OTHER)] * 10) == f"not evenly spread: {BOX} 90, {OTHER} 10"
    assert verdict(ask, *[reached(BOX)] * 50, *[reached("x")] * 50) == f"answered by x; it should be {BOX}, {OTHER}"


@pytest.mark.parametrize(
    ("fact", "wrong"),
    [
        (Fact("n", Show.ADDRESS, has=(("local", "10.0.0.1"), ("prefixlen", "32"))), ""),
        (Fact("n", Show.ADDRESS, has=(("local", "10.0.0.1"), ("prefixlen", "24"))),
         "`ip addr` in n: there should be an entry with local=10.0.0.1 prefixlen=24"),
        (Fact("n", Show.ADDRESS, has_not=(("ifname", "eth0"), ("local", "10.0.0.1"))),
         "`ip addr` in n: there should be no entry with ifname=eth0 local=10.0.0.1"),
        (Fact("n", Show.ADDRESS, has_not=(("local", "10.0.0.9"),)), ""),
        (Fact("gone", Show.ROUTE, has=(("dst", "default"),)),
         "`ip route` in gone: there should be an entry with dst=default"),
    ],
)  # fmt: skip
def test_a_fact_is_an_entry_that_is_there_or_not(fact: Fact, wrong: str) -> None:
    rows = [{"ifname": "eth0", "addr_info": [{"local": "10.0.0.1", "prefixlen": 32}]}]
    check = Check((Goal("g", facts=(fact,)),))
    found = seen(questions(check, LAB), [], {}, {("n", Show.ADDRESS): rows})
    (graded,) = grade(check, LAB, found)
    assert "".join(sentence(fault, Language.ENGLISH) for fault in graded.faults) == wrong


def test_what_must_not_arrive_and_arrives_is_no_wall_though_the_answer_is_lost() -> None:
    ask = Ask("client", BOX, expect=Expect.BLOCKED)
    check = Check((Goal("g", asks=(ask,)),))
    asked = questions(check, LAB)
    lost = Result(asked.probes[ask], Outcome.TIMED_OUT, arrived_at=BOX)
    (graded,) = grade(check, LAB, seen(asked, [lost], {}, {}))
    assert not graded.reached
    nothing = replace(lost, arrived_at="")
    assert grade(check, LAB, seen(asked, [nothing], {}, {}))[0].reached


class Network:
    """Answers calls as it is told to, and remembers what it was asked, round by round."""

    def __init__(self, *answers: str) -> None:
        self.answers = iter("".join(answers))
        self.rounds: list[list[int]] = []

    def __call__(self, calls: Sequence[Call]) -> list[CallResult]:
        self.rounds.append([call.times for call in calls])
        return [CallResult(call, tuple(self.one() for _ in range(call.times))) for call in calls]

    def one(self) -> Try:
        return SILENT if next(self.answers) == "-" else reached()


def test_a_question_of_several_goals_is_asked_once() -> None:
    check = Check((Goal("a", asks=(HTTP,)), Goal("b", asks=(HTTP, replace(HTTP, seen_as="node1")))))
    asked = questions(check, LAB)
    network = Network("+")
    tries = ask_all([*asked.calls.values()], network)
    assert network.rounds == [[1]]
    assert asked.shows == (("node1", Show.ADDRESS),)
    shown = {("node1", Show.ADDRESS): [{"ifname": "eth0", "addr_info": [{"local": "192.168.59.22"}]}]}
    assert all(one.reached for one in grade(check, LAB, seen(asked, [], tries, shown)))


@pytest.mark.parametrize(
    ("times", "answers", "rounds", "lost"),
    [
        (5, "+++++", [[5]], 0),
        (5, "+-+-+", [[5]], 2),
        (100, "-", [[1]], 1),
        (100, "+" + "+" * 99, [[1], [99]], 0),
        (100, "+" + "+" * 90 + "-" * 9 + "+" * 8 + "-", [[1], [99], [9]], 1),
    ],
)  # fmt: skip
def test_many_are_asked_where_one_is_answered_and_what_of_them_got_lost_once_more(
    times: int, answers: str, rounds: list[list[int]], lost: int
) -> None:
    call = questions(Check((Goal("a", asks=(replace(HTTP, times=times),)),)), LAB).calls
    network = Network(answers)
    (tries,) = ask_all([*call.values()], network).values()
    assert network.rounds == rounds
    assert [one.outcome for one in tries].count(Outcome.TIMED_OUT) == lost
    assert len(tries) == (times if sum(map(sum, rounds)) >= times else 1)


def test_what_must_not_be_answered_is_asked_once() -> None:
    check = Check((Goal("a", asks=(replace(HTTP, expect=Expect.BLOCKED),)),))
    network = Network("-")
    ask_all([*questions(check, LAB).calls.values()], network)
    assert network.rounds == [[1]]


def graded(*reached: bool, extra: bool) -> tuple[Graded, ...]:
    """Goals that are reached or not, and one more, extra, that is not."""
    goal = Goal("g", Translated("a < b", "가"), Translated("hint"), (HTTP,))
    fault = grade(Check((goal,)), LAB, Seen({HTTP: (SILENT,)}, {}))[0].faults
    one = [Graded(replace(goal, name=f"g{at}"), () if right else fault) for at, right in enumerate(reached)]
    return (*one, Graded(replace(goal, name="more", extra=True), () if extra else fault))


def test_an_exercise_is_done_without_what_is_extra() -> None:
    assert done(graded(True, True, extra=False))
    assert not done(graded(True, False, extra=True))
    assert summary(graded(True, False, extra=True), Language.ENGLISH) == "1 of 2 goals reached, 1 of 1 extra"
    assert summary(graded(True, False, extra=False), Language.KOREAN) == "목표 2개 중 1개 통과, 추가 목표 1개 중 0개"


def test_machines_get_the_same() -> None:
    some = graded(True, False, extra=False)
    output = json.loads(json.dumps(to_json("lab", some, Language.KOREAN)))
    assert (output["done"], [goal["reached"] for goal in output["goals"]]) == (False, [True, False, False])
    assert output["goals"][1]["wrong"] == [
        f"client → {BOX}:8080 (http): 시간이 지나도 응답이 없습니다. 응답이 와야 합니다"
    ]
    suite = ET.fromstring(junit("lab", some, Language.ENGLISH))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None] == ["g1"]


def test_both_languages_have_every_phrase() -> None:
    assert set(_ENGLISH) == set(_KOREAN)
    assert all(_ENGLISH[key].count("{") == _KOREAN[key].count("{") for key in _ENGLISH)


def test_a_goal_that_was_reached_and_is_not_any_more_is_lost_and_comes_first() -> None:
    ask, bad, good = HTTP, (SILENT,), (reached(),)
    other = replace(HTTP, target=f"{OTHER}:8080")
    check = Check((Goal("first", Translated("f"), asks=(ask,)), Goal("second", Translated("s"), asks=(other,))))
    graded = grade(check, LAB, Seen({ask: bad, other: bad}, {}), {"second"})
    assert [(one.reached, one.lost) for one in graded] == [(False, False), (False, True)]
    assert next_one(graded) == (2, graded[1])
    assert [goal["lost"] for goal in to_json("mine", graded, Language.ENGLISH)["goals"]] == [False, True]
    assert [goal["hint"] for goal in to_json("mine", graded, Language.ENGLISH)["goals"]] == ["", ""]
    graded = grade(check, LAB, Seen({ask: bad, other: (reached(OTHER),)}, {}), {"second"})
    assert [(one.reached, one.lost) for one in graded] == [(False, False), (True, False)]
    assert next_one(graded) == (1, graded[0])
    assert next_one(grade(check, LAB, Seen({ask: good, other: (reached(OTHER),)}, {}))) is None
