"""How a command line is read where click reads it otherwise than kubectl: words of another command, verbs misspelt."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

import click
import typer.core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.exercises.types import Language

SIMILAR = 0.75
"""How near a verb must be to be suggested (difflib's ratio, where 1 is the same): `prob`, not the `set` for `get`."""


def running(name: str | None) -> str | None:
    """A lab that may be typed by its guide's number, `probe 4`. A running lab of that very name goes first."""
    if not (name and name.isdecimal()):
        return name
    from nslab.lab.find import by_number
    from nslab.linux.netns import labs

    return name if name in labs() else by_number(name)


def locale_language() -> Language:
    """The language of the messages that the user's locale asks for, if it is one of ours; else English."""
    from nslab.exercises.types import Language

    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    code = re.split("[_.@]", next(filter(None, names), ""))[0]
    return next((one for one in Language if one.value == code), Language.ENGLISH)


class AnyCase(click.Choice[str]):
    """A choice that may be typed in capitals or not."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The choice as it is written."""
        written = {choice.lower(): choice for choice in self.choices}
        return super().convert(written.get(value.lower(), value), param, ctx)


class Verbs(typer.core.TyperGroup):
    """The verbs. Of one that is not known it suggests a misspelling's, or none."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb and its words; a usage error tells what there is otherwise."""
        try:
            return click.Group.resolve_command(self, ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError as error:
            error.message = f"{error.message.rstrip('.')}{suggestion(args[0], [*self.commands])}"
            raise


_APPLY = "change the file, and `nslab apply LAB -f FILE`"
_LABS = "`nslab ps` lists the running labs"
_KINDS = "`nslab docs lab-file` lists kinds and fields"
KUBECTL = {
    "annotate": _APPLY, "autoscale": _APPLY, "create": "`nslab apply LAB -f FILE` creates", "edit": _APPLY,
    "expose": _APPLY, "label": _APPLY, "patch": _APPLY, "replace": _APPLY, "rollout": _APPLY, "run": _APPLY,
    "cluster-info": _LABS, "config": _LABS, "api-resources": _KINDS, "explain": _KINDS,
    "attach": "`nslab logs LAB/POD -f` follows a container's output",
    "port-forward": "`nslab exec LAB/CLIENT -- curl NODE:PORT` calls a node port",
    "wait": "`nslab apply LAB -f FILE --wait` and `nslab up` wait",
}  # fmt: skip
"""kubectl's verbs that nslab lacks, and what to do instead."""


def suggestion(verb: str, known: Sequence[str]) -> str:
    """The end of a sentence about a verb that is not known."""
    if instead := KUBECTL.get(verb):
        return f"; {instead}"
    near = difflib.get_close_matches(verb, known, n=1, cutoff=SIMILAR)
    return f"; did you mean {near[0]}?" if near else "; `nslab --help` lists the verbs"


class ShellInside(typer.core.TyperCommand):
    """A verb that takes a host, and names itself what is wrong with further words."""

    allow_extra_args = True


class BareWait(typer.core.TyperCommand):
    """A verb whose --wait may stand without a value, as kubectl has it; a value follows `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words, as if `=true` stood behind such a --wait."""
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*("--wait=true" if w == "--wait" else w for w in args[:end]), *args[end:]])


class CommandInside(typer.core.TyperCommand):
    """A verb that takes a host and a command: the command begins at its first word, and `--` before it may be left out.

    Options behind that word are the command's own.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words, as if `--` stood before the command."""
        command = self._past_word(ctx, self._past_word(ctx, args, keep=False), keep=True)
        ours = [word for word in args[: len(args) - len(command)] if word != "--"]
        return super().parse_args(ctx, [*ours, "--", *command] if command else args)

    def _past_word(self, ctx: click.Context, args: list[str], *, keep: bool) -> list[str]:
        """What follows the options; without its first word, unless that is to be kept."""
        options = [option for option in self.params if isinstance(option, click.Option)]
        parser = click.Command(None, params=[*options]).make_parser(ctx)
        parser.allow_interspersed_args = False
        _, words, _ = parser.parse_args([*args])
        return words if keep else words[1:]
