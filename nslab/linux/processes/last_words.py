"""The error by which a node's process ended: the last line of its log, which begins anew with each process."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.api.words import printable
from nslab.runtime.trust import beneath

if TYPE_CHECKING:
    from pathlib import Path

_END = 4096
"""How many bytes of the log's end are read."""
_LONGEST = 200


def last_words(run: Path, host: str) -> str:
    """The last line that a node's process has written, without what a terminal obeys; "": none, as after a kill.

    `run`: the lab's folder.
    """
    with suppress(OSError):
        folder = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            log = beneath(folder, f"{rundir.node(host)}/{rundir.NODE_LOG}", os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(folder)
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(log).st_size - _END))
            lines = file.read(_END).decode("utf-8", "replace").split("\n")
        return next((printable(line)[:_LONGEST] for line in reversed(lines) if line.strip()), "")
    return ""
