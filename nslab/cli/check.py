"""`nslab check`: the goals of an exercise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import exercises
from nslab.cli.output import Format, Report, document, need_root, say
from nslab.exercises.types import Language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.exercises.grade import Graded


def check(
    name: Annotated[str, typer.Argument(metavar="LAB", autocompletion=exercises)],
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Check the goals of this file instead of the lab's own.")
    ] = None,
    lang: Annotated[Language, typer.Option("--lang", help="The language: en or ko.")] = Language.ENGLISH,
    output: Annotated[Report, typer.Option("--output", "-o", help="table, json, yaml or junit.")] = Report.TABLE,
) -> None:
    """Show how far you are with an exercise. It lists each goal, reached or not yet, and a hint for the next one.

    It tests the goals with packets, whatever names you chose. It exits with 1 until you reach all but the extra goals.

    Example: nslab check by-hand-cni
    """
    need_root("check")
    from nslab.app.check import check as grade
    from nslab.exercises.grade import done
    from nslab.exercises.report import junit, to_json

    graded = grade(name, file)
    if output is Report.JUNIT:
        say(junit(name, graded, lang), nl=False)
    elif output is not Report.TABLE:
        document(to_json(name, graded, lang), Format(output.value))
    else:
        _printed(graded, lang)
    if not done(graded):
        raise typer.Exit(1)


def _printed(graded: Sequence[Graded], language: Language) -> None:
    from nslab.exercises.words import sentence, summary, word
    from nslab.views.table import padded, width

    words = [word(language, "yes" if each.reached else "not yet") for each in graded]
    wide = max(map(width, words))
    for number, (each, text) in enumerate(zip(graded, words, strict=True), 1):
        extra = f" ({word(language, 'extra')})" if each.goal.extra else ""
        line = f"{padded(text, wide)}  {number:>{len(str(len(graded)))}}  {each.goal.title.by(language)}{extra}"
        say(line, fg="green" if each.reached else None)
    say(f"\n{summary(graded, language)}")
    upcoming = next(((number, each) for number, each in enumerate(graded, 1) if not each.reached), None)
    if upcoming:
        number, following = upcoming
        say(f"\n{word(language, 'next', number, following.goal.title.by(language))}")
        for fault in following.faults[:3]:
            say(f"  {sentence(fault, language)}")
        say(word(language, "hint", following.goal.hint.by(language)))
