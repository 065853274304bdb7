"""The last chapter of nslab/docs/commands.md: the `--help` of every command, in Markdown.

A test keeps the two equal.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADING = "## Every command and its options"


def reference(command: click.Group) -> str:
    """The chapter, for a group of commands."""
    context = click.Context(command, info_name="nslab", **command.context_settings)
    chapters = ["\n".join(_verb(name, verb, context)) for name, verb in command.commands.items()]
    return "\n\n".join([HEADING, *chapters]) + "\n"


def _verb(name: str, verb: click.Command, above: click.Context) -> Iterator[str]:
    context = click.Context(verb, info_name=name, parent=above)
    about, _, example = inspect.cleandoc(verb.help or "").partition("Example: ")
    yield f"### `{' '.join(['nslab', name, *verb.collect_usage_pieces(context)])}`\n"
    yield about.strip()
    records = filter(None, (parameter.get_help_record(context) for parameter in verb.params))
    # The usage line has the arguments without help.
    if terms := [f"- `{term}`: {' '.join(word.split())}" for term, word in records if word not in ("", "[required]")]:
        yield "\n" + "\n".join(terms)
    if example:
        yield f"\nExample: `{' '.join(example.split())}`"
