"""The course: the guides of the shipped labs, in order.

labs/course.txt defines the order and so the guides' numbers; a guide's title is its first heading. A guide is a
template. README.md beside it is the guide filled in with the shipped lab's values, for people who browse the labs;
scripts/guides writes it.
"""

from __future__ import annotations

import re

from nslab.dataclass import dataclass
from nslab.lab.find import folder, in_course

TITLE = re.compile(r"^# \{\{ n \}\}\. (.+)$", re.MULTILINE)
"""A guide's first heading, in the template."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A guide of the course; `title` is without the number."""

    number: int
    lab: str
    title: str


def guide_file(language: str) -> str:
    """The name of a guide's template, beside the lab's file."""
    return "guide.md.j2" if language == "en" else f"guide.{language}.md.j2"


def filled_file(language: str) -> str:
    """The name of the filled-in guide's file."""
    return "README.md" if language == "en" else f"README.{language}.md"


def course(language: str = "en") -> tuple[Chapter, ...]:
    """Every guide of the course, in order."""
    return tuple(Chapter(number, lab, _title(lab, language)) for number, lab in enumerate(in_course(), 1))


def _title(lab: str, language: str) -> str:
    file = folder() / lab / guide_file(language)
    found = TITLE.search(file.read_text(encoding="utf-8")) if file.exists() else None
    return found[1] if found else lab
