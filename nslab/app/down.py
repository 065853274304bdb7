"""Remove a lab, or whatever is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab import rundir
from nslab.app.listener import QUIET
from nslab.dataclass import replace
from nslab.errors import NslabError
from nslab.linux import owned, places, signals
from nslab.linux.cni.plugins import Plugins
from nslab.linux.netns import Namespaces, folder, private
from nslab.linux.observe.host import read_host
from nslab.linux.processes import procs

if TYPE_CHECKING:
    from nslab.app.listener import Listener


def down(name: str, listener: Listener = QUIET) -> owned.Gone:
    """Remove a lab and return what was removed. A lab that does not exist is not an error."""
    with signals.blocked(), private(), owned.locked(name, "down", listener.busy):
        return release(name)


def release(name: str) -> owned.Gone:
    """Like `down`, for a caller that holds the lock. CNI plugins get DEL first; their refusals stop nothing."""
    places.uncover(name)
    places.check(name)
    _end_controllers(name)
    refused: list[str] = []
    if Plugins(folder(name)).kept():
        try:
            with Namespaces() as spaces:
                refused = Plugins(folder(name), read_host(spaces).iptables).release()
        except (NslabError, OSError) as error:
            refused = [str(error)]
    return replace(owned.release(name), refused=tuple(refused))


def _end_controllers(name: str) -> None:
    """End the process of a lab's controllers, outside of its namespaces. As we have the lock, it changes nothing."""
    try:
        pid, start = map(int, (folder(name) / rundir.CONTROLLERS).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return
    procs.end([procs.Record(pid, "", "", start, 0, "", "")])
