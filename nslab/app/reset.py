"""Remove unmanaged objects from a lab's namespaces: only those that the user was shown, and agreed to."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from nslab.errors import NslabError
from nslab.linux.processes import procs
from nslab.linux.rules import restore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.linux.netns import Namespaces
    from nslab.objects.unmanaged import Unmanaged


def reset(spaces: Namespaces, unmanaged: Iterable[Unmanaged]) -> dict[Unmanaged, str]:
    """Remove unmanaged objects in order; return the error for each one that could not be removed.

    An object that is already gone has an error, too: the kernel removes with an interface all that is on it.
    """
    refused = {}
    for one in unmanaged:
        try:
            if one.pid:
                procs.end([procs.Record(one.pid, one.ns, "", one.start, 0, "", "")])
                continue
            for line in one.removal:
                spaces.enter(one.ns)
                _run(line, one.ns)
        except (NslabError, OSError) as error:
            refused[one] = str(error)
    spaces.home()
    return refused


def _run(line: str, ns: str) -> None:
    name, *arguments = shlex.split(line)
    restore.listed(name, *arguments, lock=restore.lock_of(ns))
