"""How things are printed: colour where wanted, JSON and YAML where asked for, progress where it takes long."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from nslab.errors import Missing, Unprinted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Format(StrEnum):
    """What a list is printed as."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class Report(StrEnum):
    """What the result of a probe or a check is printed as."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    JUNIT = "junit"


Output = Annotated[Format, typer.Option("--output", "-o", help="table, json or yaml.")]
"""The option of every verb that lists."""


def listing(rows: Sequence[dict[str, Any]], output: Format, empty: str = "") -> None:
    """Print rows (all with the same keys) in the format that was asked for."""
    if output is not Format.TABLE:
        document(list(rows), output)
    elif not rows:
        note(empty)
    else:
        from nslab.views.table import table

        header = [key.upper() for key in rows[0]]
        click.echo(table(header, [[_cell(value) for value in row.values()] for row in rows]))


def document(value: object, output: Format) -> None:
    """Print anything as JSON or YAML."""
    if output is Format.JSON:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def colour(text: str, name: str) -> str:
    """The text in a colour, on a terminal whose user did not say NO_COLOR."""
    return styled(text, fg=name)


def styled(text: str, **style: Any) -> str:
    """The text in click's styles, on a terminal whose user did not say NO_COLOR."""
    wanted = style and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, **style) if wanted else text


def note(text: str) -> None:
    """A word aside, for the person and not for the pipe. Where it cannot be written, nothing fails for it."""
    if text:
        with contextlib.suppress(OSError):
            click.echo(text, err=True)


PIPE = "standard output"
"""What a broken pipe is about if it is ours, and none of a lab's."""


class _StandardOutput(io.FileIO):
    """The file behind sys.stdout. That it takes nothing is no error of what a verb does."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(stream.fileno(), "w", closefd=False)
        self._stream = stream  # whose end would be that of the descriptor

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            error.filename = PIPE
            raise
        except OSError as error:
            raise Unprinted(error) from error


def let_go() -> None:
    """Forget what was printed and cannot be written, or the interpreter would complain at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def telling(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream; but Unprinted says that it cannot be written to."""
    try:
        raw = io.BufferedWriter(_StandardOutput(stream))
    except io.UnsupportedOperation:
        return stream  # no file: a test's
    # A terminal without box characters shows question marks.
    return io.TextIOWrapper(raw, stream.encoding, "replace", line_buffering=stream.line_buffering)


def ready_or_exit(not_ready: Sequence[object]) -> None:
    """Go on if every container is ready; else name those that are not, and end with 1."""
    for container in not_ready:
        note(f"nslab: {container}")
    if not_ready:
        raise typer.Exit(1)


def bullets(lines: Iterable[str], most: int, more: str) -> None:
    """Print lines, indented; of a long list the beginning, and how many more there are."""
    every = list(lines)
    for line in every[:most]:
        click.echo(f"  {line}")
    if len(every) > most:
        click.echo(f"  … and {len(every) - most} {more}")


def need_root(verb: str) -> None:
    """Say it at once, and the two ways on."""
    if os.geteuid() != 0:
        raise Missing(
            f"`nslab {verb}` works on the kernel's network, which takes root: put sudo before it, "
            f"or use a kernel of your own: nslab vm -- nslab {verb} …"
        )


class Progress:
    """A bar on a terminal, for what takes more than a second."""

    def __init__(self, what: str = "steps") -> None:
        self._what = what
        self._started = time.monotonic()
        self._drawn = 0.0
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Tell how far it is."""
        now = time.monotonic()
        if not self._terminal or now - self._started < 1 or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        filled = 30 * done // max(total, 1)
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {self._what}")
        if done == total:
            sys.stderr.write("\r\033[K")
        sys.stderr.flush()
