"""Tracebacks end in the test: they hide nslab's frames, but with `--full-trace` and for nslab's own faults."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from nslab.errors import NslabError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NSLAB = Path(__file__).parents[1]
_LABS = _NSLAB / "labs"  # tests are there, in a wheel
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_EXPECTED = (AssertionError, OSError, LookupError, ValueError, NslabError)
"""What nslab raises to tell a test something,"""
_MISTAKES = (KeyError, IndexError)
"""but not these: they are nslab's own mistakes."""


def hide(error: pytest.ExceptionInfo[BaseException]) -> None:
    """Take nslab's frames, and those below them, from an exception's traceback and from those of its causes."""
    for one in _chain(error.value):
        expected = isinstance(one, _EXPECTED) and not isinstance(one, _MISTAKES)
        if expected and (kept := _shortened(one.__traceback__)):
            one.__traceback__ = kept
    error.traceback = pytest.ExceptionInfo.from_exception(error.value).traceback


def is_ours(path: Path | str) -> bool:
    """Whether a file is nslab's own code."""
    return Path(path).is_relative_to(_NSLAB) and not Path(path).is_relative_to(_LABS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _shortened(traceback: TracebackType | None) -> TracebackType | None:
    """The same without nslab's frames and what they call of libraries; None if no test is left in it."""
    kept, below = list[TracebackType](), False
    while traceback:
        below = is_ours(_file(traceback)) or (below and _is_library(traceback))
        if not below:
            kept.append(traceback)
        traceback = traceback.tb_next
    made: TracebackType | None = None
    for one in reversed(kept):
        made = TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return None if all(map(_is_library, kept)) else made


def _is_library(traceback: TracebackType) -> bool:
    return any(_file(traceback).is_relative_to(library) for library in _LIBRARIES)


def _file(traceback: TracebackType) -> Path:
    return Path(traceback.tb_frame.f_code.co_filename)
