"""Where a picture or a page goes: to standard output, into a file, or into a temporary one for a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.output import say
from nslab.errors import UsageError, error_text
from nslab.quote import fill

if TYPE_CHECKING:
    from pathlib import Path

WriteOption = Annotated[
    str, typer.Option("--write", "-w", metavar="FILE", help="Write it to this file; - is standard output.")
]
OpenOption = Annotated[
    bool, typer.Option("--open", help="Write it to a temporary file of yours, say where, and open it in a browser.")
]


def deliver(text: str, suffix: str, *, write: str, opened: bool) -> None:
    """Deliver a text. `suffix`: of its temporary file, such as `.html`; `write`: a file, or "" for standard output."""
    from nslab.linux.handed_over import temporary, written

    if write and opened:
        raise UsageError("-w FILE or --open: --open writes a temporary file")
    if opened:
        _open(temporary(text, suffix))
    elif write and write != "-":
        try:
            written(write, text)
        except OSError as error:
            raise UsageError(f"{write}: {error_text(error)}") from None
    elif suffix == ".html" and sys.stdout.isatty():
        raise UsageError("standard output is a terminal: --open opens the page, -w FILE writes it to a file")
    else:
        say(text, nl=False)


def _open(file: Path) -> None:
    """Open a file in the user's browser if this process is the user's, with a screen; in any case say where it is."""
    program = shutil.which("xdg-open")
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if os.geteuid() == 0 or not (program and screen):
        say(f"wrote {file}; to see it: {fill('xdg-open {}', file)}")
        return
    nowhere = subprocess.DEVNULL
    subprocess.Popen([program, file], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    say(f"wrote {file}; your browser opens it")
