"""`nslab help` and `nslab version`: the same as --help and --version, as verbs."""

from __future__ import annotations

from typing import Annotated

import click
import typer

from nslab.cli.output import help_columns, say
from nslab.cli.parsing import suggestion
from nslab.cli.verbs import overview
from nslab.errors import UsageError


def verbs(ctx: click.Context, incomplete: str) -> list[str]:
    """The verbs, for a shell to complete."""
    group = ctx.parent and ctx.parent.command
    return [verb for verb in group.commands if verb.startswith(incomplete)] if isinstance(group, click.Group) else []


def help_(
    context: typer.Context,
    verb: Annotated[str | None, typer.Argument(metavar="VERB", autocompletion=verbs)] = None,
) -> None:
    """Print the help of a verb, or list the verbs.

    Example: nslab help exec
    """
    assert context.parent
    group = context.parent.command
    assert isinstance(group, click.Group)
    if verb is None:
        say(overview(help_columns()))
        return
    asked = group.get_command(context.parent, verb)
    if asked is None:
        from nslab.api.words import shown

        raise UsageError(f"there is no verb {shown(verb)}{suggestion(verb, [*group.commands])}")
    say(asked.get_help(click.Context(asked, info_name=verb, parent=context.parent)))


def version() -> None:
    """Print the version of nslab.

    Example: nslab version
    """
    from nslab.version import version as number

    say(f"nslab {number()}")
