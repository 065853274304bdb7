"""The errors of nslab as one tree, with the exit code of each class.

NslabError             1  a probe or check failed
├── UsageError         2  wrong usage, or a lab that does not exist
│   └── LabFileError   2  all errors in a lab file
├── Refused            3  the kernel refused a step
├── Missing            4  this machine lacks something
├── Unprinted          5  the command succeeded, but its output cannot be written
└── Stopped      128 + N  received signal N
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class NslabError(Exception):
    """An error with one sentence for the user; `code`: the exit status."""

    code = 1


class UsageError(NslabError):
    """The command line names something that does not exist or is not possible."""

    code = 2


FieldPath: TypeAlias = tuple[int | str, ...]
"""A path in a file: index of the document, then fields and indexes, to the field or its nearest existing parent."""


class Position(NamedTuple):
    """Where in a file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in a field of a file or of an object.

    `at`: the path in the file, if it is not `path`. `first`: the path of the other field concerned. `word` may be a
    misspelling of one of `known`. A callable `text` makes the message from the YAML node, or from a node for `value` if
    there is no file. `key`: the error concerns the field's name. `position`: set once the file was searched; then
    `text` is a string.
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
        """The message of an error that has its position."""
        assert isinstance(self.text, str)
        return self.text

    def __str__(self) -> str:
        if not self.position.line:  # about the whole
            return self.sentence
        return f"{self.position.file}:{self.position.line}:{self.position.column}: {self.sentence}"


class LabFileError(UsageError):
    """All errors of a lab file, in the order of the file."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


class Refused(NslabError):
    """The kernel refused one step: the equivalent command, and the kernel's message."""

    code = 3

    def __init__(self, line: str, reason: str, done: Sequence[object] = ()) -> None:
        super().__init__(f"{line}: {reason}")
        self.line, self.reason = line, reason
        # The steps of the same transaction that succeeded: the kernel continues after an error inside a batch.
        self.done = tuple(done)


class Missing(NslabError):
    """This machine lacks a feature that the lab needs; the text names it and the alternatives."""

    code = 4


class Stopped(NslabError):
    """A signal ended the command; its changes are rolled back."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == 2 else "terminated")
        self.code = 128 + number


class Unprinted(NslabError):
    """Standard output cannot be written, usually because of a full disk. The command itself succeeded."""

    code = 5

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error_text(cause)}")


@contextlib.contextmanager
def about(path: object) -> Iterator[None]:
    """Add a file's name to OSErrors of the block: those of write(2) and similar calls have none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def error_text(error: OSError) -> str:
    """The kernel's message for an error."""
    return error.strerror or str(error)
