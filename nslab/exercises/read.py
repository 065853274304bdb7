"""Reads a check file as a `Check` that fits its lab, or raises LabFileError with all errors in the file."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.admission.load import refuse
from nslab.api import schema
from nslab.api.documents import Tree, documents, located
from nslab.api.values import AliasesError, Reader, Source
from nslab.api.words import shown
from nslab.errors import FieldError, FieldPath, LabFileError, Position
from nslab.exercises.targets import fault, target
from nslab.exercises.types import Ask, By, Check, Expect, Fact, Goal, Show, Translated
from nslab.probes.pairs import places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.shapes import Shape
    from nslab.lab.types import Lab


@cache
def check_schema() -> dict[str, Any]:
    """The JSON Schema of a check file, which `nslab schema check` prints, too."""
    text = Path(__file__).with_name("check.schema.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def _shape() -> Shape:
    return schema.compiled(check_schema())


def read_check(text: str, file: str, lab: Lab) -> Check:
    """The check in a text. `file` is its name in error messages; `lab` (its pods have addresses) is the check's lab.

    Raises LabFileError with every error and its position.
    """
    reader = Reader(Source(file, text))
    check = Check()
    try:
        found = [*documents(text, file)]
        if len(found) != 1:
            text = f"a check file is one document (kind: Check), and this has {len(found)}"
            raise LabFileError([FieldError((), text, position=Position(file, 1, 1))])
        value = reader.read(found[0])
        wrong, tree = schema.check(value, _shape()), Tree(found[0])
        reader.errors += (located(one, file, tree.at(one.path, key=one.key)) for one in wrong)
        if not wrong:
            spec = value["spec"]
            check = Check(tuple(map(_goal, spec["goals"])))
    except AliasesError as bomb:
        reader.say(bomb.node, "aliases repeat far more than the file holds; write out what you mean")
    # Errors of the whole mostly follow from unreadable values: they are reported only if there are none of those.
    refuse(reader, () if reader.errors else _errors(check, lab))
    return check


def _goal(document: dict[str, Any]) -> Goal:
    asks, facts = (tuple(document.get(name, ())) for name in ("asks", "facts"))
    return Goal(
        document["id"],
        _text(document["title"]),
        _text(document.get("hint", "")),
        tuple(map(_asked, asks)),
        tuple(map(_fact, facts)),
        document.get("extra", False),
    )


def _text(document: str | dict[str, str]) -> Translated:
    return Translated(document) if isinstance(document, str) else Translated(**document)


def _asked(document: dict[str, Any]) -> Ask:
    by, expect = By(document.get("by", "icmp")), Expect(document.get("expect", "ok"))
    seen, answers = document.get("seenAs", ""), tuple(document.get("answers", ()))
    return Ask(document["from"], document["to"], by, expect, document.get("times", 1), seen, answers)


def _fact(document: dict[str, Any]) -> Fact:
    has, has_not = (tuple(document.get(name, {}).items()) for name in ("has", "hasNot"))
    return Fact(document["host"], Show(document["show"]), has, has_not)


def _errors(check: Check, lab: Lab) -> Iterator[FieldError]:
    """The errors of a check in itself and with its lab."""
    goals = [*enumerate(check.goals)]
    names = Counter(goal.name for _, goal in goals)
    hosts = tuple(one.name for one in places(lab))
    for number, goal in goals:
        path: FieldPath = (0, "spec", "goals", number)
        if goal.name and names[goal.name] > 1:
            yield FieldError((*path, "id"), f"there is another goal {shown(goal.name)}")
        if not goal.asks and not goal.facts:
            yield FieldError(path, f"the goal {shown(goal.name)} has neither asks nor facts; add one")
        for at, ask in enumerate(goal.asks):
            yield from _ask((*path, "asks", at), ask, lab, hosts)
        for at, fact in enumerate(goal.facts):
            yield from _named((*path, "facts", at, "host"), fact.host, hosts)
            if not fact.has and not fact.has_not:
                yield FieldError((*path, "facts", at), "a fact needs has or hasNot")


def _ask(path: FieldPath, ask: Ask, lab: Lab, hosts: tuple[str, ...]) -> Iterator[FieldError]:
    yield from _named((*path, "from"), ask.source, hosts)
    wrong = fault(lab, ask.target, ask.by) if ask.target else None
    if wrong:
        yield FieldError((*path, "to"), wrong[0], word=wrong[1], known=wrong[2])
    if ask.seen_as:
        yield from _named((*path, "seenAs"), ask.seen_as, hosts)
    for name in ask.answers:
        yield from _named((*path, "answers"), name, tuple(one.name for one in places(lab) if one.role == "pod"))
    if ask.by is By.ICMP and ask.expect is Expect.REFUSED:
        yield FieldError((*path, "expect"), "an echo is answered or not, and never refused; ask by tcp")
    if ask.answers and (ask.by is not By.HTTP or ask.expect is not Expect.OK):
        yield FieldError((*path, "answers"), "answers needs by: http and expect: ok")
    if ask.seen_as and (ask.by is By.TCP or ask.expect is not Expect.OK):
        yield FieldError((*path, "seenAs"), "seenAs needs by: icmp or http, and expect: ok")
    if ask.seen_as and ask.by is By.ICMP and ask.target and not wrong and not target(lab, ask.target).host:
        yield FieldError(
            (*path, "seenAs"), "no host of the lab has this address, so nobody tells whom it sees; ask a host"
        )
    if ask.by is By.ICMP and ask.times > 1:
        yield FieldError((*path, "times"), "times does not apply to icmp; remove it")


def _named(path: FieldPath, name: str, known: tuple[str, ...]) -> Iterator[FieldError]:
    if name and name not in known:
        what = "pod" if path[-1] == "answers" else "host"
        yield FieldError(path, f"the lab has no {what} {shown(name)}", word=name, known=known)
