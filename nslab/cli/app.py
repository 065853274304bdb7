"""The command line: verbs, help, exit codes. Each verb imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import click
import typer
import typer.core

from nslab.cli.output import PIPE, discard, flush, note
from nslab.cli.parsing import BareWait, CommandInside, ShellInside, Verbs
from nslab.errors import LabFileError, Missing, NslabError, Refused, error_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

_EPILOG = """\
Exit codes: 0 success; 1 a probe or check failed; 2 wrong usage or lab file; 3 the kernel refused a step; 4 this machine
lacks something; 5 the work is done, but standard output took no report. `exec` exits with its command's code.
"""

# Help is plain text (`rich_markup_mode`), but typer would still load rich, and escape its brackets.
typer.core.HAS_RICH = False

VERBS: dict[str, str] = {
    "labs": "look.labs",
    "show": "look.show",
    "doctor": "look.doctor",
    "up": "life.up",
    "down": "life.down",
    "ps": "look.ps",
    "inspect": "look.inspect",
    "diff": "life.diff",
    "plan": "life.plan",
    "get": "objects.get",
    "describe": "objects.describe",
    "apply": "objects.apply",
    "delete": "objects.delete",
    "scale": "objects.scale",
    "set": "objects.set_",
    "cni": "cni.cni",
    "render": "render.render",
    "exec": "inside.exec_",
    "shell": "inside.shell",
    "logs": "inside.logs",
    "probe": "probe.probe",
    "trace": "trace.trace",
    "dump-node": "trace.dump_node",
    "capture": "capture.capture",
    "rules": "rules.rules",
    "events": "events.events",
    "top": "top.top",
    "graph": "graph.graph",
    "check": "check.check",
    "schema": "look.schema",
    "vm": "inside.vm",
    "docs": "docs.docs",
    "completion": "look.completion",
    "help": "help.help_",
    "version": "help.version",
}
"""Every verb, in the order of --help: its function, in a module of this package."""
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
        help="Kubernetes' network on one Linux machine: real namespaces, veth pairs, tunnels, routes and rules.",
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback()(_nslab)
    for verb in verbs:
        module, _, function = VERBS[verb].partition(".")
        app.command(verb, cls=_OTHERWISE.get(verb))(getattr(importlib.import_module(f"nslab.cli.{module}"), function))
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its status."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without box characters shows question marks
    sys.excepthook = _unforeseen
    sys.exit(_status(arguments))


def _open_standard_streams() -> None:
    """Open /dev/null for closed standard streams: otherwise the next opened files would get their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")


def _unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug in nslab, escaped, since it may contain output of others."""
    from traceback import format_exception

    note("".join(format_exception(kind, error, trace)).rstrip("\n"))


def tree(verbs: Iterable[str] = VERBS) -> click.Group:
    """The command line as a click group, in which errors about options name no environment variables."""
    command = typer.main.get_group(build(verbs))
    for verb in command.commands.values():
        for parameter in verb.params:
            if isinstance(parameter, (click.Option, typer.core.TyperArgument)):
                parameter.show_envvar = False
    return command


def _status(arguments: Sequence[str] | None) -> int:
    asked_by_a_shell = "_NSLAB_COMPLETE" in os.environ
    if asked_by_a_shell:
        # typer registers its completion classes only if it also adds its two options to every command.
        from typer._completion_classes import completion_init

        completion_init()
    try:
        first = (sys.argv[1:] if arguments is None else [*arguments])[:1]
        one = first and first[0] in VERBS and first != ["help"] and not asked_by_a_shell
        known = first if one else VERBS
        status = tree(known)(arguments, prog_name="nslab", standalone_mode=False)
        flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as wrong:
        shown = io.StringIO()
        wrong.show(shown)
        note(shown.getvalue().rstrip("\n"))
        return wrong.exit_code
    except NslabError as error:
        message = str(error)
        _complain(message if isinstance(error, LabFileError) else f"nslab: {message}")
        return error.code
    except (KeyboardInterrupt, click.Abort):
        _complain("nslab: interrupted")
        return 130
    except (BrokenPipeError, SystemExit) as leave:
        if asked_by_a_shell and isinstance(leave, SystemExit):
            return int(leave.code or 0)  # tells fish whether there is anything to complete
        broken = leave if isinstance(leave, BrokenPipeError) else leave.__context__  # click turns it into SystemExit
        if isinstance(broken, OSError) and broken.filename != PIPE:
            _complain(f"nslab: {error_text(broken)}")
            return Refused.code
        # The reader has closed the pipe; the interpreter must not complain about it at exit.
        discard(sys.stdout)
        return 128 + signal.SIGPIPE
    except MemoryError:
        note("nslab: there is not enough memory for this; `ulimit -v` says how much a process may have")
        return Missing.code
    except OSError as error:
        _complain(f"nslab: {f'{error.filename}: ' if error.filename else ''}{error_text(error)}")
        return Refused.code
    return status if isinstance(status, int) else 0


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may have hung up
        note(text)
