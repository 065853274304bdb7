"""Files for the user who called nslab: root makes them on behalf of whoever ran sudo."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path


def caller() -> tuple[int, int] | None:
    """User and group of whoever ran sudo; None if nobody did, or if this process is not root's.

    What sudo says is only believed for whose a file becomes that this process has made.
    """
    told = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not (told.isascii() and told.isdecimal() and len(told) < 11):
        return None
    try:
        entry = pwd.getpwuid(int(told))
    except (KeyError, OverflowError):
        return None
    return entry.pw_uid, entry.pw_gid


def temporary(text: str, suffix: str) -> Path:
    """Write a text to a new file of the caller's, which nobody else can read, in the folder for such files."""
    # Root's own TMPDIR could be a folder in which another user can replace the file.
    folder = "/tmp" if os.geteuid() == 0 else None
    descriptor, name = tempfile.mkstemp(suffix, "nslab-", folder)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        _hand_over(file.fileno())
        file.write(text)
    return Path(name)


def written(path: str, text: str) -> None:
    """Write a text to a file. A new one is the caller's; no symbolic link is followed in its place."""
    with os.fdopen(opened(path), "w", encoding="utf-8") as file:
        file.write(text)


def opened(path: str) -> int:
    """Open a file to be written. A new one is for the caller alone; no symbolic link is followed in its place."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags | os.O_TRUNC)
    _hand_over(descriptor)
    return descriptor


def _hand_over(new: int) -> None:
    if owner := caller():
        os.fchown(new, *owner)
