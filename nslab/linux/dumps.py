"""Dumps of nodes as folders, which may come from anybody: known names, regular files and bounded sizes only."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING

from nslab.errors import UsageError
from nslab.trace.dump.files import SIZES, Dump

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "1"
_PREFIX = "nslab-dump-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_NUMBERS = re.compile(r"[0-9.]+")
"""A name that reads as an address."""


def read_dump(folder: Path) -> Dump:
    """The dump in a folder. Raises UsageError if it is none, or has what the script does not make."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise UsageError(f"{folder}: {why}; `nslab dump-node` makes dumps of nodes") from error
    try:
        found = {name: text for name in SIZES if (text := _read(descriptor, folder, name)) is not None}
    finally:
        os.close(descriptor)
    if not found.keys() - {"format", "hostname", "notes"}:
        raise UsageError(f"{folder} is no dump of a node: it has no addr.json; `nslab dump-node` makes one")
    if (made := found.get("format", _FORMAT).strip()) != _FORMAT:
        raise UsageError(f"{folder}: a dump of format {made[:20]!a}, and this nslab reads {_FORMAT}")
    return Dump(_name(found.get("hostname", ""), folder), found)


def _name(hostname: str, folder: Path) -> str:
    """The node's name; of a dump without one, the folder's."""
    name = hostname.strip() or folder.resolve().name.removeprefix(_PREFIX)
    if not _NAME.fullmatch(name) or _NUMBERS.fullmatch(name):
        raise UsageError(f"{folder}: no name of a node: {name[:60]!a}; write one into {folder}/hostname")
    return name


def _read(folder: int, where: Path, name: str) -> str | None:
    """The text of a file; None if it is not there. What is not UTF-8 is replaced."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise UsageError(f"{where}/{name}: {why}") from error
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{where}/{name}: no regular file")
        data = file.read(SIZES[name] + 1)
    if len(data) > SIZES[name]:
        raise UsageError(f"{where}/{name}: more than {SIZES[name]} bytes")
    return data.decode(errors="replace")
