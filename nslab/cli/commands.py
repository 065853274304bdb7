"""The command line as typer and click read it, with the verbs that a call needs."""

from __future__ import annotations

import importlib
import io
import os
from typing import TYPE_CHECKING, Annotated

import click
import typer
import typer.core

from nslab.cli.output import flush, note
from nslab.cli.parsing import BareWait, CommandInside, ShellInside, Verbs
from nslab.cli.verbs import ABOUT, EXIT_CODES, MOST_COLUMNS, VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Help is plain text (`rich_markup_mode`), but typer would still load rich, and escape its brackets.
typer.core.HAS_RICH = False

_OTHERWISE: dict[str, type[typer.core.TyperCommand]] = {
    "exec": CommandInside,
    "shell": ShellInside,
    "delete": BareWait,
}
"""Verbs whose words are not read as click reads them."""


def _version(asked: bool) -> None:
    if asked:
        from nslab.cli.help import version

        version()
        raise typer.Exit


def _nslab(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of all verbs."""


def build(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """Build the command line with some verbs: typer inspects all parameters of each, and a call needs only one verb."""
    app = typer.Typer(
        name="nslab",
        cls=Verbs,
        help=ABOUT,
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MOST_COLUMNS},
    )
    app.callback()(_nslab)
    for verb in verbs:
        module, _, function = VERBS[verb][0].partition(".")
        app.command(verb, cls=_OTHERWISE.get(verb))(getattr(importlib.import_module(f"nslab.cli.{module}"), function))
    return app


def tree(verbs: Iterable[str] = VERBS) -> click.Group:
    """The command line as a click group, in which errors about options name no environment variables."""
    command = typer.main.get_group(build(verbs))
    for verb in command.commands.values():
        for parameter in verb.params:
            if isinstance(parameter, (click.Option, typer.core.TyperArgument)):
                parameter.show_envvar = False
    return command


def run(words: Sequence[str]) -> int:
    """Run a command line; return its exit status, or raise what its verb raises."""
    asked_by_a_shell = "_NSLAB_COMPLETE" in os.environ
    if asked_by_a_shell:
        # typer registers its completion classes only if it also adds its two options to every command.
        from typer._completion_classes import completion_init

        completion_init()
    one = words and words[0] in VERBS and words[0] != "help" and not asked_by_a_shell
    try:
        status = tree(words[:1] if one else VERBS)([*words], prog_name="nslab", standalone_mode=False)
        flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as wrong:
        shown = io.StringIO()
        wrong.show(shown)
        note(shown.getvalue().rstrip("\n"))
        return wrong.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return status if isinstance(status, int) else 0
