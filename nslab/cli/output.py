"""How things are printed: colour where wanted, JSON and YAML where asked for, progress where it takes long.

All that a reader is shown goes through `say` or `note`, which let nothing by that a terminal obeys: names, reasons and
last words may be a stranger's. Only `raw` prints what a program said as it said it, for `logs`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from nslab.errors import Missing, Unprinted
from nslab.quote import escaped, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TextIO


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
        say(table(header, [[_cell(value) for value in row.values()] for row in rows]))


def document(value: object, output: Format) -> None:
    """Print anything as JSON or YAML."""
    if output is Format.JSON:
        say(_escaped(json.dumps(value, indent=2, ensure_ascii=False), _in_json))
    else:
        say(_escaped(_yaml(value), escaped), nl=False)


def _yaml(value: object) -> str:
    """As YAML, with quotes around each text that a reader would not see all of: in those there are escapes."""
    import yaml

    from nslab.api.scalars import is_text

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if visible(value) != value else None if is_text(value) else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    Dumper.add_representer(str, text)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    return text if visible(text) == text else "".join(c if visible(c) == c else escape(c) for c in text)


def _in_json(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 0x7F else f"\\u{ord(char):04x}"


def _cell(value: object) -> str:
    return visible(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def say(text: str, *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a text for a reader, in click's styles (fg=None: none) on a terminal whose user did not say NO_COLOR."""
    shown = visible(text)
    if any(style.values()) and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        shown = click.style(shown, **style)
    _print(shown, err=err, nl=nl)


def markdown(text: str) -> None:
    """Print Markdown as wide as the terminal, and no wider than one reads with ease."""
    from shutil import get_terminal_size

    from nslab.views.markdown import lines

    styles: dict[str, dict[str, Any]] = {"heading": {"bold": True}, "command": {"fg": "green"}}
    for kind, line in lines(text, min(get_terminal_size((100, 24)).columns, 100)):
        say(line, **styles.get(kind, {}))


def raw(text: str) -> None:
    """Print what a container printed: whoever asks for its log gets that, control characters and all."""
    _print(text, color=True)  # click would take its colours away where no terminal is


def _print(text: str, *, err: bool = False, nl: bool = True, color: bool | None = None) -> None:
    with _printing(err):
        click.echo(text, err=err, nl=nl, color=color)


def flush() -> None:
    """Have all that was printed written."""
    with _printing(False):
        sys.stdout.flush()


PIPE = "standard output"
"""What a broken pipe is about if it is ours, and none of a lab's."""


@contextlib.contextmanager
def _printing(err: bool) -> Iterator[None]:
    """What is wrong with standard output is one sentence, and no error of what a verb does."""
    try:
        yield
    except BrokenPipeError as error:
        error.filename = PIPE
        raise  # the reader has seen enough
    except OSError as error:
        discard(sys.stderr if err else sys.stdout)
        if not err:
            raise Unprinted(error) from error


def discard(stream: TextIO) -> None:
    """Let go of what a stream still holds, and of all that is written to it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def note(text: str) -> None:
    """A word aside, for the person and not for the pipe. Where it cannot be written, nothing fails for it."""
    if text:
        say(text, err=True)


def ready_or_exit(not_ready: Sequence[object]) -> None:
    """Go on if every container is ready; else name those that are not, and end with 1."""
    for container in not_ready:
        note(f"nslab: {container}")
    if not_ready:
        raise typer.Exit(1)


def written_or_exit(failed: Mapping[str, Mapping[str, str]]) -> None:
    """Go on if kube-proxies could write all Services; else say what they could not, and end with 1."""
    from nslab.views.changes import unwritten

    for line in unwritten(failed):
        note(f"nslab: {line}")
    if failed:
        raise typer.Exit(1)


def bullets(lines: Iterable[str], most: int, more: str) -> None:
    """Print lines, indented; of a long list the beginning, and how many more there are."""
    every = list(lines)
    for line in every[:most]:
        say(f"  {line}")
    if len(every) > most:
        say(f"  … and {len(every) - most} {more}")


def need_root(verb: str) -> None:
    """Say it at once, and the two ways on. From here on files are root's alone, and there may be many open."""
    if os.geteuid() != 0:
        raise Missing(
            f"`nslab {verb}` works on the kernel's network, which takes root: put sudo before it, "
            f"or use a kernel of your own: nslab vm -- nslab {verb} …"
        )
    from nslab.linux.netns import raise_limit

    os.umask(0o077)
    raise_limit()


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
