"""Loads a file as a `Lab`, or raises LabFileError with all errors in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.documents import positioned, text_of
from nslab.api.values import Reader
from nslab.errors import LabFileError
from nslab.lab import views
from nslab.lab.allocate import allocate
from nslab.lab.defaults import complete
from nslab.lab.notes import notes
from nslab.lab.plugins import fetch
from nslab.lab.stream import read_stream
from nslab.lab.types import Encapsulation, Plugin
from nslab.lab.validate import errors
from nslab.lab.warn import warnings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nslab.errors import FieldError, Position
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents
    from nslab.lab.types import Cni, Lab, ProxyMode


def load(
    path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None, cni: Cni | None = None
) -> Lab:
    """The lab in a file; the arguments override the file (`up --encapsulation --proxy-mode`, `cni`)."""
    return parse(text_of(path), str(path), encapsulation, proxy_mode, cni)


def load_with_warnings(
    path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None, cni: Cni | None = None
) -> tuple[Lab, tuple[FieldError, ...]]:
    """The lab in a file, with warnings for probable mistakes, such as a selector that matches no pods."""
    return parse_with_warnings(text_of(path), str(path), encapsulation, proxy_mode, cni)


def parse(
    text: str,
    file: str,
    encapsulation: Encapsulation | None = None,
    proxy_mode: ProxyMode | None = None,
    cni: Cni | None = None,
) -> Lab:
    """The lab in a text. `file` is its name in error messages."""
    return allocate(views.lab(_checked(text, file, encapsulation, proxy_mode, cni)))


def parse_with_warnings(
    text: str,
    file: str,
    encapsulation: Encapsulation | None = None,
    proxy_mode: ProxyMode | None = None,
    cni: Cni | None = None,
) -> tuple[Lab, tuple[FieldError, ...]]:
    """The lab in a text, and its warnings."""
    found = _checked(text, file, encapsulation, proxy_mode, cni)
    doubts = positioned(text, file, [*warnings(found), *notes(found)])
    return allocate(views.lab(found)), in_order(doubts)


def in_order(errors: Iterable[FieldError]) -> tuple[FieldError, ...]:
    """Errors in the order of the file, each once."""
    return tuple(sorted({(one.position, one.sentence): one for one in errors}.values(), key=_as_read))


def _as_read(error: FieldError) -> tuple[Position, str]:
    return error.position, error.sentence


def _checked(
    text: str, file: str, encapsulation: Encapsulation | None, proxy_mode: ProxyMode | None, cni: Cni | None
) -> Documents:
    """The documents of a text, with defaults and without errors; raises LabFileError otherwise."""
    reader = Reader(file, text)
    found = read_stream(text, reader)
    set_to(found.lab, encapsulation, proxy_mode, cni)
    unread = [*fetch(found.lab, file)]
    complete(found)
    refuse(text, reader, [*unread, *errors(found)])
    return found


def completed(found: Documents, what: str) -> Lab:
    """The lab of documents that come from no file; `what` is its name in error messages."""
    complete(found)
    refuse("", Reader(what, ""), errors(found))
    return allocate(views.lab(found))


def set_to(
    lab: LabDocument, encapsulation: Encapsulation | None, proxy_mode: ProxyMode | None, cni: Cni | None
) -> None:
    """Override settings of the document."""
    if encapsulation:
        lab.cni["encapsulation"] = str(encapsulation)
    if proxy_mode:
        lab.proxy["mode"] = str(proxy_mode)
    if cni:
        lab.cni.clear()
        lab.cni |= {"plugin": str(Plugin.EXEC), "encapsulation": str(Encapsulation.NONE), "config": cni.config}
        lab.cni |= {"path": [*cni.path], "routes": cni.routes, "masquerade": cni.masquerade}


def refuse(text: str, reader: Reader, found: Iterable[FieldError]) -> None:
    """Raise LabFileError with all errors of a text, the reader's and those `found` later; return if there are none."""
    unreadable = {one.position for one in reader.errors}
    # An error at the position of an unreadable value only follows from that value.
    follow = (one for one in positioned(text, reader.file, list(found)) if one.position not in unreadable)
    if wrong := in_order([*reader.errors, *follow]):
        raise LabFileError(wrong)
