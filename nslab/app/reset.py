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


def reset(spaces: Namespaces, things: Iterable[Unmanaged]) -> dict[Unmanaged, str]:
    """Remove unmanaged objects in order; return the error for each one that could not be removed.

    An object that is already gone has an error, too: the kernel removes what lies on an interface with it.
    """
    refused = {}
    for thing in things:
        try:
            if thing.pid:
                procs.end([procs.Record(thing.pid, thing.ns, "", thing.start, 0, "", "")])
                continue
            for line in thing.removal:
                spaces.enter(thing.ns)
                _run(line, thing.ns)
        except (NslabError, OSError) as error:
            refused[thing] = str(error)
    spaces.home()
    return refused


def _run(line: str, ns: str) -> None:
    name, *arguments = shlex.split(line)
    restore.listed(name, *arguments, lock=restore.lock_of(ns))
