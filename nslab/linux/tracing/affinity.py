"""Takes back the ClientIP affinity that a traced packet made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from nslab.errors import NslabError
from nslab.linux.rules import restore
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.linux.netns import Namespaces
    from nslab.trace.affinity import Pinned


def forget(spaces: Namespaces, lab: str, found: Iterable[Pinned]) -> None:
    """Remove entries. One that is gone already is no error."""
    for one in found:
        spaces.enter(netns(lab, one.host))
        if one.table:
            with suppress(NslabError):
                restore.listed("nft", "delete", "element", "ip", one.table, one.name, f"{{ {one.source} }}")
        elif "/" not in one.name:
            # -ADDRESS removes it (xt_recent.c).
            with suppress(OSError), open(f"/proc/thread-self/net/xt_recent/{one.name}", "w", encoding="ascii") as file:
                file.write(f"-{one.source}\n")
