"""Exercises: how far somebody is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import exercises
from nslab.cli.output import Format, Report, document, need_root, say
from nslab.errors import UsageError
from nslab.exercise.types import Language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.exercise.grade import Graded
    from nslab.exercise.types import Check
    from nslab.lab.types import Lab
    from nslab.probes import Call, CallResult


def check(
    name: Annotated[str, typer.Argument(metavar="LAB", autocompletion=exercises)],
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Goals of this file, not the lab's own.")] = None,
    lang: Annotated[Language, typer.Option("--lang", help="en or ko.")] = Language.ENGLISH,
    output: Annotated[Report, typer.Option("--output", "-o", help="table, json, yaml or junit.")] = Report.TABLE,
) -> None:
    """Tell how far you are with a lab that is an exercise: each goal, reached or not yet, and a hint for the next one.

    A goal is reached by what packets do, whatever names you chose. Exits with 1 until all is reached but what is extra.

    Example: nslab check by-hand-cni
    """
    need_root("check")
    from nslab.exercise.grade import done
    from nslab.exercise.report import junit, to_json
    from nslab.linux import wishes

    lab = wishes.wished(name)
    graded = _graded(lab, _goals(lab, file))
    if output is Report.JUNIT:
        say(junit(name, graded, lang), nl=False)
    elif output is not Report.TABLE:
        document(to_json(name, graded, lang), Format(output.value))
    else:
        _printed(graded, lang)
    if not done(graded):
        raise typer.Exit(1)


def _goals(lab: Lab, file: Path | None) -> Check:
    """The goals in a file, or in the one that is kept with the running lab."""
    from nslab.api.documents import text_of
    from nslab.exercise.read import read_check
    from nslab.lab.find import FILE, check_file
    from nslab.linux.netns import folder

    path = file or check_file(folder(lab.name) / FILE)
    if path is None:
        raise UsageError(
            f"{lab.name} is no exercise: it came up without a check.yaml beside its {FILE}; "
            f"`nslab probe {lab.name}` proves who reaches whom"
        )
    return read_check(text_of(path), str(path), lab)


def _graded(lab: Lab, goals: Check) -> tuple[Graded, ...]:
    from nslab.exercise.ask import questions
    from nslab.exercise.grade import grade, seen
    from nslab.exercise.rounds import MANY, ask_all
    from nslab.linux.netns import Namespaces
    from nslab.linux.probe import ask
    from nslab.linux.probe_services import ask_services
    from nslab.linux.show import show
    from nslab.probes import ServiceSurvey, places

    asked, everybody = questions(goals, lab), places(lab)
    with Namespaces() as spaces:

        def connect(calls: Sequence[Call]) -> Sequence[CallResult]:
            few = tuple(call for call in calls if call.times < MANY)
            many = tuple(call for call in calls if call.times >= MANY)
            return ask_services(spaces, lab.name, ServiceSurvey(everybody, few, many, 0, 0), None)

        echoes = ask(spaces, lab.name, everybody, [*dict.fromkeys(asked.probes.values())])
        tries = ask_all([*asked.calls.values()], connect)
    return grade(goals, lab, seen(asked, echoes, tries, show(lab.name, asked.shows)))


def _printed(graded: Sequence[Graded], language: Language) -> None:
    from nslab.exercise.words import sentence, summary, word
    from nslab.views.table import padded, width

    words = [word(language, "yes" if one.reached else "not yet") for one in graded]
    wide = max(map(width, words))
    for number, (one, said) in enumerate(zip(graded, words, strict=True), 1):
        extra = f" ({word(language, 'extra')})" if one.goal.extra else ""
        line = f"{padded(said, wide)}  {number:>{len(str(len(graded)))}}  {one.goal.title.by(language)}{extra}"
        say(line, fg="green" if one.reached else None)
    say(f"\n{summary(graded, language)}")
    upcoming = next(((number, one) for number, one in enumerate(graded, 1) if not one.reached), None)
    if upcoming:
        number, one = upcoming
        say(f"\n{word(language, 'next', number, one.goal.title.by(language))}")
        for fault in one.faults[:3]:
            say(f"  {sentence(fault, language)}")
        say(word(language, "hint", one.goal.hint.by(language)))
