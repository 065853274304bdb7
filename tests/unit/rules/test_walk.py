"""The walk: chains, gotos, policies, hooks in the order of their priorities, lots, and doubts."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from ask import NODE, packet

from nslab.trace.rules import evaluate as walk
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import Verdict
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    import pytest

GOTO = """\
*filter
:FORWARD DROP [0:0]
:A - [0:0]
:B - [0:0]
:C - [0:0]
-A FORWARD -m comment --comment "first: a" -m comment --comment 둘 -j A
-A FORWARD -j MARK --set-xmark 0x1/0x0
-A A -g B
-A A -j DROP
-A B -j C
-A B -j MARK --set-xmark 0x2/0x0
-A C -j RETURN
-A C -j DROP
COMMIT
"""


def test_after_a_goto_the_return_goes_to_the_jump_before() -> None:
    (end,) = evaluate(read(GOTO), packet(), "FORWARD", NODE)
    assert [(step.chain, step.number, step.result) for step in end.steps] == [
        ("FORWARD", 1, "jump A"),
        ("A", 1, "goto B"),
        ("B", 1, "jump C"),
        ("C", 1, "RETURN"),
        ("B", 2, "MARK 0x0 -> 0x2"),
        ("FORWARD", 2, "MARK 0x2 -> 0x3"),
        ("FORWARD", 0, "DROP"),
    ]
    assert (end.verdict, end.chance, end.packet.mark) == (Verdict.DROP, 1, 3)
    assert end.steps[0].comment == "first: a 둘"
    assert end.steps[-1].rule == "policy DROP"


def test_a_goto_from_the_hooks_own_chain_ends_in_its_policy() -> None:
    text = "*filter\n:FORWARD DROP\n:A -\n-A FORWARD -g A\n-A FORWARD -j ACCEPT\n-A A -j RETURN\nCOMMIT\n"
    (end,) = evaluate(read(text), packet(), "FORWARD", NODE)
    assert end.verdict is Verdict.DROP


HOOKS = """\
*filter
-A OUTPUT -j LOG
*nat
-A OUTPUT -j LOG
COMMIT
*mangle
-A OUTPUT -j LOG
COMMIT
*raw
-A OUTPUT -j ACCEPT
COMMIT
*security
-A OUTPUT -j LOG
COMMIT
"""


def test_tables_are_asked_in_the_order_of_their_priorities() -> None:
    (end,) = evaluate(read(HOOKS), packet(), "OUTPUT", NODE)
    assert [step.table for step in end.steps if step.number] == ["raw", "mangle", "nat", "filter", "security"]


def test_nat_is_for_the_first_packet_of_a_connection() -> None:
    text = "*nat\n-A PREROUTING -j DNAT --to-destination 10.0.1.9\nCOMMIT\n*mangle\n-A PREROUTING -j LOG\nCOMMIT\n"
    changed = {
        (state, reply): str(end.packet.destination) == "10.0.1.9"
        for state in ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
        for reply in (False, True)
        for end in evaluate(read(text), packet(state=state, reply=reply), "PREROUTING", NODE)
    }
    assert {key for key, there in changed.items() if there} == {("NEW", False), ("RELATED", False)}
    (error,) = evaluate(read(text), packet(state="RELATED", protocol=1), "PREROUTING", NODE)
    assert [step.table for step in error.steps] == ["mangle", "mangle"]


def test_three_endpoints_have_a_third_each() -> None:
    rules = [
        "-m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.0.1.4",
        "-m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.0.1.5",
        "-j DNAT --to-destination 10.0.1.6",
    ]
    text = "".join(f"-A PREROUTING {rule}\n" for rule in rules)
    ends = evaluate(read(f"*nat\n{text}COMMIT\n"), packet(), "PREROUTING", NODE)
    assert [(str(end.packet.destination), end.chance) for end in ends] == [
        (f"10.0.1.{last}", Fraction(1, 3)) for last in (4, 5, 6)
    ]
    assert [[step.number for step in end.steps] for end in ends] == [[1], [2], [3]]


def test_a_doubt_shows_both_branches() -> None:
    text = "*filter\n-A FORWARD -m string --string x --algo bm -j DROP\n-A FORWARD -j REJECT\nCOMMIT\n"
    matched, passed = evaluate(read(text), packet(), "FORWARD", NODE)
    assert (matched.verdict, matched.chance, matched.doubts) == (Verdict.DROP, None, ("string",))
    assert (passed.verdict, passed.chance, passed.doubts) == (Verdict.REJECT, None, ("string",))
    assert [(step.number, step.result, step.doubts) for step in passed.steps] == [
        (1, "no match", ("string",)),
        (2, "REJECT icmp-port-unreachable", ()),
    ]


def test_a_doubt_about_a_rule_that_changes_nothing_makes_no_branches() -> None:
    text = "*filter\n-A FORWARD -m string --string x --algo bm -j LOG\nCOMMIT\n"
    (end,) = evaluate(read(text), packet(), "FORWARD", NODE)
    assert (end.verdict, end.chance, end.doubts) == (Verdict.ACCEPT, 1, ("string",))


def test_a_doubt_does_not_matter_where_another_match_says_no() -> None:
    text = "*filter\n-A FORWARD -m string --string x --algo bm -d 192.0.2.9 -j DROP\nCOMMIT\n"
    (end,) = evaluate(read(text), packet(), "FORWARD", NODE)
    assert (end.chance, end.doubts) == (1, ())


def test_a_chain_with_many_rules_is_read_as_if_it_had_no_index() -> None:
    rules = [f"-d 10.0.{number}.2/32 -j MARK --set-xmark {number}/0x0" for number in range(40)]
    rules[5:5] = ["! -d 10.0.9.2/32 -j MARK --set-xmark 0x100/0x0", '-m comment --comment "x -d 10.0.9.9/32 y"']
    rules[30:30] = ["-p tcp -m tcp --dport 80 -j MARK --set-xmark 0x200/0x0", "-p tcp ! --dport 80 -j DROP"]
    rules.append("-p tcp --dport 81 -j DROP")
    text = "".join(f"-A FORWARD {rule}\n" for rule in rules)
    (end,) = evaluate(read(f"*filter\n{text}COMMIT\n"), packet(), "FORWARD", NODE)
    assert [step.number for step in end.steps] == [2, 6, 7, 31, 0]
    assert end.packet.mark == 0x301


def test_jumps_that_double_each_other_end_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "VISITS", 2000)
    chains = "".join(f":C{number} - [0:0]\n" for number in range(31))
    rules = "".join(f"-A C{number} -j C{number + 1}\n" * 2 for number in range(30))
    ends = evaluate(read(f"*filter\n{chains}-A FORWARD -j C0\n{rules}COMMIT\n"), packet(), "FORWARD", NODE)
    assert [(end.verdict, end.doubts) for end in ends] == [(Verdict.UNKNOWN, ("more than 2000 rules",))]


def test_branches_that_double_each_other_end_in_a_sentence() -> None:
    doubtful = "".join(f"-A FORWARD -m string --string x -j MARK --set-xmark {1 << bit}/0x0\n" for bit in range(30))
    *_, last = evaluate(read(f"*filter\n{doubtful}COMMIT\n"), packet(), "FORWARD", NODE)
    assert last.verdict is Verdict.UNKNOWN
    assert last.doubts[-1] == f"more than {walk.BRANCHES} branches"


def test_a_packet_keeps_what_nat_and_marks_made_of_it() -> None:
    nat, mangle = ("-A PREROUTING -j DNAT --to-destination 10.0.1.9", "-A PREROUTING -j MARK --set-mark 5")
    text = f"*nat\n{nat}\nCOMMIT\n*mangle\n{mangle}\nCOMMIT\n"
    (end,) = evaluate(read(text), packet(tos=4), "PREROUTING", NODE)
    assert (end.packet.mark, end.packet.status) == (5, {"DNAT"})
    assert (str(end.packet.destination), end.packet.tos) == ("10.0.1.9", 4)
