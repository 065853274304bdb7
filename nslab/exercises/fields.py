"""Every field of a check file: the table that it is read by, and that its JSON Schema is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from nslab.exercises.types import Ask, By, Check, Expect, Fact, Goal, Show, Text
from nslab.lab import shapes
from nslab.lab.shapes import LABEL, Choice, Field, Flag, Many, Number, Part, Record, Table

MOST = 1000
"""Times that a question may be asked."""


class _Version(StrEnum):
    V1 = "nslab/v1"


class _Kind(StrEnum):
    CHECK = "Check"


def _fact(has: dict[str, str] | None = None, hasNot: dict[str, str] | None = None, **rest: Any) -> Fact:  # noqa: N803
    return Fact(has=tuple((has or {}).items()), has_not=tuple((hasNot or {}).items()), **rest)


_WORD = shapes.Text(".+", "something", 200)
_WORDS = Record(
    Text,
    (
        Field("en", "en", shapes.Text(".+", "a sentence", 500), "In English.", required=True),
        Field("ko", "ko", shapes.Text(".+", "a sentence", 500), "In Korean."),
    ),
)
_ASK = Record(
    Ask,
    (
        Field("from", "source", _WORD, "The host that asks: a pod, a node or a client.", required=True),
        Field("to", "target", _WORD, "Who is asked: HOST, HOST:PORT, svc/NAME or svc/NAME:PORT.", required=True),
        Field("by", "by", Choice(By), "How: an echo, a connection, or agnhost's /hostname and /clientip (icmp)."),
        Field("expect", "expect", Choice(Expect), "What must come of it (ok); blocked: no word back of any kind."),
        Field("times", "times", Number(1, MOST), "How often (1); each must come to that."),
        Field("seenAs", "seen_as", _WORD, "The host as whom the server must see the asker."),
        Field("answers", "answers", Many(_WORD, at_least=1), "The pods that must answer: all, evenly, nobody else."),
    ),
)
_VALUES = Table(shapes.Text(), _WORD)
_FACT = Record(
    _fact,
    (
        Field("host", "host", _WORD, "A pod, a node or a client.", required=True),
        Field("show", "show", Choice(Show), "What `ip -j` is asked for there.", required=True),
        Field("has", "has", _VALUES, "Values that one entry must have, all of them."),
        Field("hasNot", "hasNot", _VALUES, "Values that no entry may have together."),
    ),
)
_GOAL = Record(
    Goal,
    (
        Field("id", "name", LABEL, "The goal's name for machines.", required=True),
        Field("title", "title", _WORDS, "What is so when it is reached.", required=True),
        Field("hint", "hint", _WORDS, "What is wrong or where to look; never the command.", required=True),
        Field("asks", "asks", Many(_ASK), "Questions that must have these answers."),
        Field("facts", "facts", Many(_FACT), "What no answer tells."),
        Field("extra", "extra", Flag(), "Worth doing, but the exercise is done without it."),
    ),
)
CHECK = Record(
    Check,
    (
        Field("apiVersion", "", Choice(_Version), "Always nslab/v1.", required=True),
        Field("kind", "", Choice(_Kind), "Always Check.", required=True),
        Field(
            "spec",
            "",
            Part((Field("goals", "goals", Many(_GOAL, at_least=1), "In the order of the exercise.", required=True),)),
            "What is to be reached.",
            required=True,
        ),
    ),
)
