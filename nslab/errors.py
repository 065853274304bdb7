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
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class NslabError(Exception):
    """One sentence for a person; `code` is the exit status that goes with it."""

    code = 1


class UsageError(NslabError):
    """The command line asks for something that does not exist or cannot be."""

    code = 2


FieldPath: TypeAlias = tuple[int | str, ...]
"""Where in a file: number of the document, then fields and indexes. The field itself, or the nearest above it."""


class Position(NamedTuple):
    """Where in a file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with a field of a file or of an object.

    `at` is where the file says it, if that is not `path`; `first` the other place that it is about; `word` may be a
    misspelling of one of `known`. A text that quotes what is written is made of the YAML node there; of one made of
    `value`, where there is no file. `key`: it is about the field's name. `position`: once its file was looked at; the
    text is a sentence then.
    """

    path: FieldPath
    text: str | Callable[[Any], str]
    at: FieldPath = ()
    first: FieldPath = ()
    word: str = ""
    known: tuple[str, ...] = ()
    key: bool = False
    value: Any = None
    position: Position = Position("", 0, 0)

    @property
    def sentence(self) -> str:
        """The text of an error that has its position."""
        assert isinstance(self.text, str)
        return self.text

    def __str__(self) -> str:
        if not self.position.line:  # about the whole
            return self.sentence
        return f"{self.position.file}:{self.position.line}:{self.position.column}: {self.sentence}"


class LabFileError(UsageError):
    """A lab file with its errors, all of them, in the order of the file."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


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
