"""Hear of changes in folders (inotify(7)): files that are written, made, renamed, removed."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_MODIFY, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
_EVENTS = ctypes.c_uint32(_MODIFY | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF)


class FolderWatch:
    """Watches folders until it is closed. `descriptor`: readable once something changed; -1 if there is no room."""

    def __init__(self, *folders: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor >= 0:
            for folder in folders:
                libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _EVENTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def drain(self) -> bool:
        """Whether something changed since the last call."""
        with suppress(OSError):
            return bool(os.read(self.descriptor, 1 << 16))
        return False
