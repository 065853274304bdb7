"""A verdict for machines: JSON values and JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from nslab.exercises.grade import done
from nslab.exercises.words import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.exercises.grade import Graded
    from nslab.exercises.types import Language


def to_json(lab: str, graded: Sequence[Graded], language: Language) -> dict[str, Any]:
    """The verdict as plain values."""
    goals = [
        {
            "id": one.goal.name,
            "title": one.goal.title.by(language),
            "extra": one.goal.extra,
            "reached": one.reached,
            "lost": one.lost,
            "wrong": [sentence(fault, language) for fault in one.faults],
            "hint": one.goal.hint.by(language),
        }
        for one in graded
    ]
    return {"lab": lab, "done": done(graded), "goals": goals}


def junit(lab: str, graded: Sequence[Graded], language: Language) -> str:
    """A test case for each goal; an extra one that is not reached is skipped."""
    missed = [one for one in graded if not one.reached]
    skipped = [one for one in missed if one.goal.extra]
    totals = {"tests": str(len(graded)), "failures": str(len(missed) - len(skipped)), "skipped": str(len(skipped))}
    suites = ET.Element("testsuites", totals)
    suite = ET.SubElement(suites, "testsuite", {"name": f"nslab check {lab}", **totals})
    for one in graded:
        case = ET.SubElement(suite, "testcase", {"classname": lab, "name": one.goal.name})
        if not one.reached:
            kind = "skipped" if one.goal.extra else "failure"
            wrong = [sentence(fault, language) for fault in one.faults]
            ET.SubElement(case, kind, {"message": one.goal.title.by(language)}).text = "\n".join(wrong)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
