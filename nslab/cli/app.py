"""A command line from its words to its exit status. Each verb imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

from nslab.cli.output import PIPE, discard, help_columns, note, say
from nslab.cli.verbs import overview
from nslab.errors import LabFileError, Missing, NslabError, Refused, error_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its status."""
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without box characters shows question marks
    sys.excepthook = _unforeseen
    status = _status(sys.argv[1:] if arguments is None else [*arguments])
    gc.freeze()  # otherwise the interpreter visits every object once more before it ends: a tenth of a command's time
    sys.exit(status)


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


def _status(words: Sequence[str]) -> int:
    try:
        return _done(words)
    except NslabError as error:
        message = str(error)
        _complain(message if isinstance(error, LabFileError) else f"nslab: {message}")
        return error.code
    except KeyboardInterrupt:
        _complain("nslab: interrupted")
        return 130
    except (BrokenPipeError, SystemExit) as leave:
        if "_NSLAB_COMPLETE" in os.environ and isinstance(leave, SystemExit):
            return int(leave.code or 0)  # tells fish whether there is anything to complete
        broken = leave if isinstance(leave, BrokenPipeError) else leave.__context__  # click turns it into SystemExit
        if isinstance(broken, OSError) and broken.filename != PIPE:
            _complain(f"nslab: {error_text(broken)}")
            return Refused.code
        # The reader has closed the pipe; the interpreter must not complain about it at exit.
        discard(sys.stdout)
        return 128 + signal.SIGPIPE
    except (MemoryError, SystemError) as error:
        if not isinstance(error, MemoryError) and "without exception set" not in str(error):
            raise
        # Without memory for it, Python 3.11 may lose a MemoryError on its way out of an import.
        note("nslab: there is not enough memory for this; `ulimit -v` says how much a process may have")
        return Missing.code
    except OSError as error:
        _complain(f"nslab: {f'{error.filename}: ' if error.filename else ''}{error_text(error)}")
        return Refused.code


def _done(words: Sequence[str]) -> int:
    """Run a command line; what lists the verbs needs no typer."""
    if words in (["--help"], ["-h"], ["help"]) and "_NSLAB_COMPLETE" not in os.environ:
        say(overview(help_columns()))
        return 0
    from nslab.cli import commands

    return commands.run(words)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may have hung up
        note(text)
