"""From a file to a `Lab`, or to everything that is wrong with the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.errors import LabFileError
from nslab.lab.allocate import give_out
from nslab.lab.defaults import complete
from nslab.lab.documents import placed, text_of
from nslab.lab.finish import finished
from nslab.lab.plugins import fetch
from nslab.lab.stream import read_stream, reader_of
from nslab.lab.types import Encapsulation, Plugin
from nslab.lab.validate import complaints
from nslab.lab.warn import warnings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nslab.errors import Problem
    from nslab.lab.draft import LabDraft
    from nslab.lab.read import Reader
    from nslab.lab.types import Cni, Lab, ProxyMode
    from nslab.lab.words import Complaint


def load(
    path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None, cni: Cni | None = None
) -> Lab:
    """The lab in a file; the settings go before what the file says (`up --encapsulation --proxy-mode`, `cni`)."""
    return parse(text_of(path), str(path), encapsulation, proxy_mode, cni)


def load_with_warnings(
    path: Path, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None, cni: Cni | None = None
) -> tuple[Lab, tuple[Problem, ...]]:
    """The lab in a file, and what in it is probably not meant: a selector without pods, say."""
    return parse_with_warnings(text_of(path), str(path), encapsulation, proxy_mode, cni)


def parse(
    text: str,
    file: str,
    encapsulation: Encapsulation | None = None,
    proxy_mode: ProxyMode | None = None,
    cni: Cni | None = None,
) -> Lab:
    """The lab in a text. `file` is its name in problems."""
    return give_out(finished(_checked(text, file, encapsulation, proxy_mode, cni)))


def parse_with_warnings(
    text: str,
    file: str,
    encapsulation: Encapsulation | None = None,
    proxy_mode: ProxyMode | None = None,
    cni: Cni | None = None,
) -> tuple[Lab, tuple[Problem, ...]]:
    """The lab in a text, and its warnings."""
    draft = _checked(text, file, encapsulation, proxy_mode, cni)
    found = placed(text, file, list(warnings(draft)))
    return give_out(finished(draft)), in_order(found)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems as a reader of the file meets them."""
    return tuple(sorted(problems, key=lambda p: (p.line, p.column, p.text)))


def _checked(
    text: str, file: str, encapsulation: Encapsulation | None, proxy_mode: ProxyMode | None, cni: Cni | None
) -> LabDraft:
    """The draft of a text, complete and without a problem."""
    reader = reader_of(text, file)
    draft = read_stream(text, reader)
    draft.encapsulation = encapsulation or draft.encapsulation
    draft.proxy_mode = proxy_mode or draft.proxy_mode
    if cni:
        draft.plugin, draft.encapsulation, draft.conf = Plugin.EXEC, Encapsulation.NONE, ""
        draft.config, draft.cni_path = cni.config, cni.path
        draft.routes, draft.masquerade = cni.routes, cni.masquerade
    unread = [*fetch(draft, file)]
    complete(draft)
    refuse(text, reader, [*unread, *complaints(draft)])
    return draft


def refuse(text: str, reader: Reader, found: Iterable[Complaint]) -> None:
    """Raise all problems of a text: those that the reader noted, and those of the whole."""
    unreadable = {(p.line, p.column) for p in reader.problems}
    # What is wrong with the whole at the place of what could not be read follows from that, and is not worth saying.
    follow = (p for p in placed(text, reader.file, list(found)) if (p.line, p.column) not in unreadable)
    if problems := {*reader.problems, *follow}:
        raise LabFileError(in_order(problems))
