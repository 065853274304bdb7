"""Find the lab that a test requests: one that comes with nslab, a file or a folder beside the test, or YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from nslab.admission.load import load_with_warnings, parse_with_warnings
from nslab.api.words import did_you_mean, shown
from nslab.errors import UsageError
from nslab.exercises.beside import goals_beside
from nslab.lab.find import find, names
from nslab.lab.types import Encapsulation, ProxyMode

if TYPE_CHECKING:
    from enum import StrEnum
    from pathlib import Path

    from nslab.errors import FieldError
    from nslab.lab.types import Lab

_E = TypeVar("_E", bound="StrEnum")


def wanted(
    source: str | Path, beside: Path, proxy_mode: str | None, encapsulation: str | None
) -> tuple[Lab, tuple[FieldError, ...]]:
    """Return a lab and the warnings about its file; NslabError if it is invalid.

    A `source` with a newline is YAML. The two settings override those of the file.
    """
    settings = _one_of(Encapsulation, encapsulation), _one_of(ProxyMode, proxy_mode)
    if _is_text(source):
        return parse_with_warnings(str(source), "the test's lab", *settings)
    return load_with_warnings(_file(source, beside), *settings)


def goals(source: str | Path, beside: Path, lab: Lab) -> str:
    """The text of the lab's check file, validated; "" if it has none."""
    return "" if _is_text(source) else goals_beside(_file(source, beside), lab)


def _is_text(source: str | Path) -> bool:
    return isinstance(source, str) and "\n" in source


def _file(source: str | Path, beside: Path) -> Path:
    """The file of a lab. As on the command line, names come before paths, which are relative to the test's folder."""
    name = str(source)
    if name in names():
        return find(name)
    if (beside / source).exists():
        return find(str(beside / source))
    advice = did_you_mean(name, names()) or "; `nslab labs` lists what there is"
    raise UsageError(f"there is no lab {shown(name)}, and no file or folder of that name beside the test{advice}")


def _one_of(kind: type[_E], word: str | None) -> _E | None:
    """A setting by its name; UsageError if it does not exist."""
    if word is None or word in [*kind]:
        return None if word is None else kind(word)
    raise UsageError(f"there is no {kind.__name__} {word!r}; there are {', '.join(kind)}")
