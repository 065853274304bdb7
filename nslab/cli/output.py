"""Output: colour on terminals, JSON and YAML on request, a progress bar for long steps.

All output goes through `say` or `note`, which escape control characters: names, errors and output of containers may
come from anybody. Only `raw` prints the output of a program unchanged, for `logs`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.errors import Missing, Unprinted
from nslab.quote import escaped, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TextIO


class Format(StrEnum):
    """The output formats of a list."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class LineFormat(StrEnum):
    """The output formats of what is printed line by line: text, or one JSON object a line."""

    TEXT = "text"
    JSON = "json"


class Report(StrEnum):
    """The output formats of a probe or a check."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    JUNIT = "junit"


def listing(rows: Sequence[dict[str, Any]], output: Format, empty: str = "") -> None:
    """Print rows (all with the same keys) in a format."""
    if output is not Format.TABLE:
        document(list(rows), output)
    elif not rows:
        note(empty)
    else:
        from nslab.views.table import table

        header = [key.upper() for key in rows[0]]
        say(table(header, [[_cell(value) for value in row.values()] for row in rows], terminal_columns()))


def terminal_columns() -> int:
    """How wide the reader's terminal is, as COLUMNS or the terminal says; 0: what is printed goes elsewhere."""
    from shutil import get_terminal_size

    return get_terminal_size((0, 0)).columns if sys.stdout.isatty() else 0


def help_columns() -> int:
    """How wide help may be: as COLUMNS or the terminal says, else 80."""
    from shutil import get_terminal_size

    return get_terminal_size().columns


def document(value: object, output: Format) -> None:
    """Print a value as JSON or YAML."""
    if output is Format.JSON:
        import json

        say(_escaped(json.dumps(value, indent=2, ensure_ascii=False), _in_json))
    else:
        say(_escaped(_yaml(value), escaped), nl=False)


def pause(seconds: float) -> None:
    """Wait. BrokenPipeError at once, if nobody reads standard output any more."""
    import select

    poll = select.poll()
    poll.register(1, 0)
    if any(events & select.POLLERR for _, events in poll.poll(seconds * 1000)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE), PIPE)


def json_line(value: object) -> None:
    """Print a value as JSON in one line, at once."""
    import json

    say(_escaped(json.dumps(value, ensure_ascii=False), _in_json))
    flush()


def _yaml(value: object) -> str:
    """A value as YAML, with double quotes around each text with invisible characters, so that they are escaped.

    What stands in it twice is written twice: kubectl prints no anchors.
    """
    import yaml

    from nslab.api.scalars import is_text

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, _value: object) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if visible(value) != value else None if is_text(value) else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    Dumper.add_representer(str, text)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    return text if visible(text) == text else "".join(c if visible(c) == c else escape(c) for c in text)


def _in_json(char: str) -> str:
    import json

    return json.dumps(char)[1:-1] if ord(char) > 0x7F else f"\\u{ord(char):04x}"


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return visible(", ".join(map(str, value)))
    return visible(str(value))


def say(text: str, *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a text with control characters escaped; click's styles (fg=None: none) on terminals without NO_COLOR."""
    _print(visible(text) if err else _styled(text, **style), err=err, nl=nl)


def _styled(text: str, **style: Any) -> str:
    shown = visible(text)
    if any(style.values()) and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        import click

        return click.style(shown, **style)
    return shown


def markdown(text: str) -> None:
    """Print Markdown, as wide as the terminal, but at most 100 columns; on a terminal through a pager."""
    from shutil import get_terminal_size

    from nslab.views.markdown import lines

    styles: dict[str, dict[str, Any]] = {"heading": {"bold": True}, "command": {"fg": "green"}}
    shown = [
        _styled(line, **styles.get(kind, {}))
        for kind, line in lines(text, min(get_terminal_size((100, 24)).columns, 100))
    ]
    if not _paged("\n".join(shown) + "\n"):
        for line in shown:
            _print(line)


def _paged(text: str) -> bool:
    """Show a text in the user's pager, or less; whether there was a terminal for it, and a pager."""
    pager = _pager() if sys.stdout.isatty() and sys.stdin.isatty() else []
    if not pager:
        return False
    import signal
    import subprocess

    environment = {"LESS": "-FRX", **os.environ, **({"LESSSECURE": "1"} if os.geteuid() == 0 else {})}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the pager's
    try:
        subprocess.run(pager, input=text, text=True, env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def _pager() -> list[str]:
    """The pager's command; none: print. As root no program of the user's choice is run."""
    import shlex
    import shutil

    from nslab.runtime.trust import PROGRAMS

    root = os.geteuid() == 0
    words = ["less"] if root else shlex.split(os.environ.get("PAGER", "less"))
    program = shutil.which(words[0], path=PROGRAMS if root else None) if words else None
    return [program, *words[1:]] if program else []


def raw(text: str) -> None:
    """Print a container's output unchanged, including control characters."""
    _print(text)


def _print(text: str, *, err: bool = False, nl: bool = True) -> None:
    stream = sys.stderr if err else sys.stdout
    with _printing(err):
        stream.write(f"{text}\n" if nl else text)
        stream.flush()


def flush() -> None:
    """Flush standard output."""
    with _printing(False):
        sys.stdout.flush()


PIPE = "standard output"
"""The file name in a BrokenPipeError of our own standard output."""


@contextlib.contextmanager
def _printing(err: bool) -> Iterator[None]:
    """Turn an error of standard output into Unprinted, which is not an error of the verb."""
    try:
        yield
    except BrokenPipeError as error:
        error.filename = PIPE
        raise  # the reader has closed the pipe
    except OSError as error:
        discard(sys.stderr if err else sys.stdout)
        if not err:
            raise Unprinted(error) from error


def discard(stream: TextIO) -> None:
    """Discard a stream's buffer, and everything written to it later."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def note(text: str) -> None:
    """Print a note to standard error. A failure to print it is not an error."""
    if text:
        say(text, err=True)


def bullets(lines: Iterable[str], most: int, more: str) -> None:
    """Print indented lines: at most `most`, then the number of the others."""
    every = list(lines)
    for line in every[:most]:
        say(f"  {line}")
    if len(every) > most:
        say(f"  … and {len(every) - most} {more}")


def need_root(verb: str) -> None:
    """Missing without root, with two remedies. Then create files for root only, and raise the limit of open files."""
    if os.geteuid() != 0:
        raise Missing(
            f"`nslab {verb}` works on the kernel's network, which needs root: put sudo before it, "
            f"or use a kernel of your own: nslab vm -- nslab {verb} …"
        )
    from nslab.linux.netns import raise_limit

    os.umask(0o077)
    raise_limit()


class Progress:
    """A progress bar on a terminal, for operations that take more than a second."""

    def __init__(self, what: str = "steps") -> None:
        self._what = what
        self._started = time.monotonic()
        self._drawn = 0.0
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Draw the bar."""
        now = time.monotonic()
        if not self._terminal or now - self._started < 1 or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        filled = 30 * done // max(total, 1)
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {self._what}")
        if done == total:
            sys.stderr.write("\r\033[K")
        sys.stderr.flush()
