"""Check the goals of an exercise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.documents import text_of
from nslab.errors import UsageError
from nslab.exercises.ask import questions
from nslab.exercises.grade import grade, seen
from nslab.exercises.read import read_check
from nslab.exercises.rounds import MANY, ask_all
from nslab.lab.find import FILE, check_file
from nslab.linux.netlink.show import show
from nslab.linux.netns import Namespaces, folder
from nslab.linux.prober.hosts import ask
from nslab.linux.prober.services import ask_services
from nslab.linux.stored_lab import StoredLab, stored_lab
from nslab.linux.visits import visiting
from nslab.probes import ServiceSurvey, places

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nslab.exercises.grade import Graded
    from nslab.exercises.types import Check
    from nslab.lab.types import Lab
    from nslab.probes import Call, CallResult


def check(name: str, file: Path | None = None) -> tuple[Graded, ...]:
    """Return each goal of a running lab, reached or not. The goals come from `file`, or from the lab's own folder.

    Of the latter, the folder remembers which were ever reached.
    """
    with visiting(name):
        return _checked(stored_lab(name), file)


def _checked(lab: Lab, file: Path | None) -> tuple[Graded, ...]:
    goals = _goals(lab, file)
    wanted, everybody = questions(goals, lab), places(lab)
    with Namespaces() as spaces:

        def connect(calls: Sequence[Call]) -> Sequence[CallResult]:
            few = tuple(call for call in calls if call.times < MANY)
            many = tuple(call for call in calls if call.times >= MANY)
            return ask_services(spaces, lab.name, ServiceSurvey(everybody, few, many, 0, 0), None)

        echoes = ask(spaces, lab.name, everybody, [*dict.fromkeys(wanted.probes.values())])
        tries = ask_all([*wanted.calls.values()], connect)
    found = seen(wanted, echoes, tries, show(lab.name, wanted.shows))
    if file:
        return grade(goals, lab, found)
    kept = StoredLab(folder(lab.name))
    before = kept.reached()
    graded = grade(goals, lab, found, before)
    kept.keep_reached(before | {one.goal.name for one in graded if one.reached})
    return graded


def _goals(lab: Lab, file: Path | None) -> Check:
    path = file or check_file(folder(lab.name) / FILE)
    if path is None:
        raise UsageError(
            f"{lab.name} is not an exercise: it came up without a check.yaml beside its {FILE}; "
            f"`nslab probe {lab.name}` shows who can reach whom"
        )
    return read_check(text_of(path), str(path), lab)
