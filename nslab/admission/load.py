"""Loads a file as a `Lab`, or raises LabFileError with all errors in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.notes import notes
from nslab.admission.validate import errors
from nslab.admission.warn import warnings
from nslab.api.document import STDIN
from nslab.api.documents import positioned, sources_of, text_of
from nslab.api.values import Reader, Source
from nslab.errors import LabFileError, UsageError
from nslab.lab import views
from nslab.lab.allocate import allocate
from nslab.lab.defaults import complete
from nslab.lab.lab_document import set_to
from nslab.lab.manifests import default_lab, leave_to_controllers
from nslab.lab.plugins import fetch
from nslab.lab.stream import read_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from nslab.errors import FieldError, Position
    from nslab.lab.stream import Documents
    from nslab.lab.types import Cni, Encapsulation, Lab, ProxyMode


def load(
    path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None, cni: Cni | None = None
) -> Lab:
    """The lab in a file; the arguments override the file (`up --encapsulation --proxy-mode`, `cni`)."""
    return allocate(views.lab(_checked(sources_of(path), _name(path), encapsulation, proxy_mode, cni)))


def load_sources(sources: Sequence[Source], name: str) -> Lab:
    """The lab in some sources; `name`: of a lab without a Lab document."""
    return allocate(views.lab(_checked(sources, name, None, None, None)))


def name_of(path: Path) -> str:
    """What the lab of a file is called, whatever else is wrong with the file."""
    reader = Reader(*(sources := sources_of(path)))
    found = read_stream(reader)
    lab = default_lab(found, _name(path)) if found.lab.document is None else found.lab
    if not lab.name:
        refuse(reader, ())
        raise UsageError(f"{sources[0].file} names no lab")
    return lab.name


def load_with_warnings(
    path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None, cni: Cni | None = None
) -> tuple[Lab, tuple[FieldError, ...]]:
    """The lab in a file, with warnings for probable mistakes, such as a selector that matches no pods."""
    return _with_warnings(sources_of(path), _name(path), encapsulation, proxy_mode, cni)


def parse(
    text: str,
    file: str,
    encapsulation: Encapsulation | None = None,
    proxy_mode: ProxyMode | None = None,
    cni: Cni | None = None,
) -> Lab:
    """The lab in a text. `file` is its name in error messages."""
    return allocate(views.lab(_checked((Source(file, text),), file, encapsulation, proxy_mode, cni)))


def parse_with_warnings(
    text: str,
    file: str,
    encapsulation: Encapsulation | None = None,
    proxy_mode: ProxyMode | None = None,
    cni: Cni | None = None,
) -> tuple[Lab, tuple[FieldError, ...]]:
    """The lab in a text, and its warnings."""
    return _with_warnings((Source(file, text),), file, encapsulation, proxy_mode, cni)


def load_stored(path: Path) -> Lab:
    """The lab in a file that nslab wrote (`dump`)."""
    return parse_stored(text_of(path), str(path))


def parse_stored(text: str, file: str) -> Lab:
    """The lab in a text that nslab wrote: its addresses and readiness are valid."""
    reader = Reader(Source(file, text))
    return _completed(reader, read_stream(reader, stored=True), expanded=True)


def _name(path: Path) -> str:
    """The default name of the lab of a file, a folder or standard input."""
    return "" if str(path) == STDIN else path.absolute().name


def _with_warnings(
    sources: Sequence[Source],
    name: str,
    encapsulation: Encapsulation | None,
    proxy_mode: ProxyMode | None,
    cni: Cni | None,
) -> tuple[Lab, tuple[FieldError, ...]]:
    found = _checked(sources, name, encapsulation, proxy_mode, cni)
    doubts = positioned(sources, [*warnings(found), *notes(found.objects(), found.pods)])
    return allocate(views.lab(found)), in_order(doubts)


def in_order(errors: Iterable[FieldError]) -> tuple[FieldError, ...]:
    """Errors in the order of the file, each once."""
    return tuple(sorted({(one.position, one.sentence): one for one in errors}.values(), key=_as_read))


def _as_read(error: FieldError) -> tuple[bool, Position, str]:
    return not error.position.line, error.position, error.sentence


def _checked(
    sources: Sequence[Source],
    name: str,
    encapsulation: Encapsulation | None,
    proxy_mode: ProxyMode | None,
    cni: Cni | None,
) -> Documents:
    """The valid documents of some sources, or LabFileError. `name`: of a lab without a Lab document."""
    reader = Reader(*sources)
    found = read_stream(reader)
    if found.lab.document is None:
        refuse(reader, ())  # errors with the default lab may follow from these
        found.lab = default_lab(found, name)
    if not found.lab.stored:
        leave_to_controllers(found)
    set_to(found.lab, encapsulation, proxy_mode, cni)
    unread = [*fetch(found.lab, sources[0].file)]
    complete(found)
    refuse(reader, [*unread, *errors(found)])
    return found


def completed(found: Documents, what: str, *, expanded: bool = False) -> Lab:
    """The lab of documents that come from no file; `what` is its name in error messages.

    `expanded`: controllers make no pods and delete none.
    """
    return _completed(Reader(Source(what, "")), found, expanded=expanded)


def _completed(reader: Reader, found: Documents, *, expanded: bool) -> Lab:
    complete(found, expanded=expanded)
    refuse(reader, errors(found))
    return allocate(views.lab(found))


def refuse(reader: Reader, found: Iterable[FieldError]) -> None:
    """Raise LabFileError with all errors, the reader's and those `found` later; return if there are none."""
    unreadable = {one.position for one in reader.errors}
    # An error at the position of an unreadable value only follows from that value.
    follow = (one for one in positioned(reader.sources, list(found)) if one.position not in unreadable)
    if wrong := in_order([*reader.errors, *follow]):
        raise LabFileError(wrong)
