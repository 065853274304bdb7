"""What can go wrong, as one tree; the exit code of each branch stands at its class.

NslabError             1  a probe or check failed
├── UsageError         2  wrong usage, or a lab that is not there
│   └── LabFileError   2  everything that is wrong with a lab file
├── Refused            3  the kernel said no to a step
├── Missing            4  this machine lacks something
├── Unprinted          5  what was to be done is done, but cannot be told
└── Stopped      128 + N  signal N came
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class NslabError(Exception):
    """One sentence for a person; `code` is the exit status that goes with it."""

    code = 1


class UsageError(NslabError):
    """The command line asks for something that does not exist or cannot be."""

    code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a lab file, at its place (line and column count from 1)."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class LabFileError(UsageError):
    """A lab file with its problems, all of them, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Refused(NslabError):
    """The kernel said no to one step: the command that a person would have typed, and the kernel's words."""

    code = 3

    def __init__(self, line: str, reason: str, done: Sequence[object] = ()) -> None:
        super().__init__(f"{line}: {reason}")
        self.line, self.reason = line, reason
        # The steps of the same transaction that were not refused: the kernel goes on after an error inside a batch.
        self.done = tuple(done)


class Missing(NslabError):
    """This machine lacks something that the lab needs; the text says what and names the ways on."""

    code = 4


class Stopped(NslabError):
    """A signal asked for the end; what was done is taken back."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == 2 else "terminated")
        self.code = 128 + number


class Unprinted(NslabError):
    """Standard output takes nothing: a full disk, as a rule. What was to be done is done."""

    code = 5

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error_text(cause)}")


@contextlib.contextmanager
def about(path: object) -> Iterator[None]:
    """What is refused in here is about a file: write(2) and its kin do not say which."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def error_text(error: OSError) -> str:
    """The kernel's words for an error."""
    return error.strerror or str(error)
