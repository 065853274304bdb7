"""The Events of a lab's controllers, in a file of its folder: nobody stays who could keep them in memory."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from nslab import rundir
from nslab.linux.netns import folder
from nslab.linux.places import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.controllers.events import Happening

    Record = dict[str, Any]

MOST = 512
"""The most that are kept; those that happened longest ago go."""
WHEN = ("first", "last", "count")


def read_controller_events(lab: str) -> list[Record]:
    """Return what controllers have done, the latest last: the fields of Happening, `first`, `last` and `count`."""
    with contextlib.suppress(OSError, ValueError):
        found: list[Record] = json.loads((folder(lab) / rundir.EVENTS).read_text(encoding="utf-8"))
        return found
    return []


def keep_controller_events(lab: str, happened: Iterable[Happening], now: float) -> None:
    """Add what has happened `now` (seconds since 1970), if there is room. The caller holds the lab's lock."""
    new = [one._asdict() for one in happened]
    if not new:
        return
    kept = {_key(one): one for one in read_controller_events(lab)}
    for one in new:
        was = kept.pop(_key(one), {"first": now, "count": 0})
        kept[_key(one)] = {**one, "first": was["first"], "last": now, "count": was["count"] + 1}
    with contextlib.suppress(OSError):
        write(folder(lab) / rundir.EVENTS, json.dumps([*kept.values()][-MOST:]))


def _key(one: Record) -> tuple[Any, ...]:
    return tuple(value for field, value in sorted(one.items()) if field not in WHEN)
