"""Taking away what is in a lab's namespaces and is not the lab's: only ever what somebody was shown, and agreed to."""

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
    """Take things away, in their order; what was said against it, by thing.

    What is gone already is named there, too: with an interface goes what lies on it.
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
