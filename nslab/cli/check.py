"""`nslab check`: the goals of an exercise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import exercises
from nslab.cli.output import Format, Report, document, need_root, say
from nslab.cli.parsing import locale_language, running
from nslab.exercises.types import Language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.exercises.grade import Graded


def check(
    name: Annotated[str, typer.Argument(metavar="LAB", autocompletion=exercises, callback=running)],
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Check the goals of this file instead of the lab's own.")
    ] = None,
    lang: Annotated[
        Language | None, typer.Option("--lang", help="The language: en or ko; default: your locale's.")
    ] = None,
    output: Annotated[Report, typer.Option("--output", "-o", help="table, json, yaml or junit.")] = Report.TABLE,
) -> None:
    """Show how far you are with an exercise. It lists each goal, reached or not yet, and a hint for the next one.

    It tests the goals with packets, whatever names you chose. A goal that an earlier check found reached and that is
    not any more is lost (of a file of -f, nslab remembers nothing). It exits with 1 until you reach all but the extra
    goals.

    Example: nslab check by-hand-cni
    """
    need_root("check")
    from nslab.app.check import check as grade
    from nslab.exercises.grade import done
    from nslab.exercises.report import junit, to_json

    graded, language = grade(name, file), lang or locale_language()
    if output is Report.JUNIT:
        say(junit(name, graded, language), nl=False)
    elif output is not Report.TABLE:
        document(to_json(name, graded, language), Format(output.value))
    else:
        _printed(graded, language)
    if not done(graded):
        raise typer.Exit(1)


def _printed(graded: Sequence[Graded], language: Language) -> None:
    from nslab.exercises.grade import next_one
    from nslab.exercises.words import sentence, summary, word
    from nslab.views.table import padded, width

    words = [word(language, "yes" if one.reached else "lost" if one.lost else "not yet") for one in graded]
    wide = max(map(width, words))
    for number, (one, text) in enumerate(zip(graded, words, strict=True), 1):
        extra = f" ({word(language, 'extra')})" if one.goal.extra else ""
        line = f"{padded(text, wide)}  {number:>{len(str(len(graded)))}}  {one.goal.title.by(language)}{extra}"
        say(line, fg="green" if one.reached else "red" if one.lost else None)
    say(f"\n{summary(graded, language)}")
    if upcoming := next_one(graded):
        number, one = upcoming
        say(f"\n{word(language, 'again' if one.lost else 'next', number, one.goal.title.by(language))}")
        for fault in one.faults[:3]:
            say(f"  {sentence(fault, language)}")
        if hint := one.goal.hint.by(language):
            say(word(language, "hint", hint))
