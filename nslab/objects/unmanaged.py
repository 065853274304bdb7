"""Unmanaged objects in a lab's namespaces: `diff` names them, and only `up --reset` removes them."""

from __future__ import annotations

from nslab.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """One unmanaged object in the namespace `ns`.

    `what`: how `diff` names it. `removal`: the commands that remove it, run in that namespace. `pid`, `start`: those
    of the process, if it is one; else 0. `acts_on_packets`: whether it can change what happens to a packet.
    """

    ns: str
    what: str
    removal: tuple[str, ...] = ()
    pid: int = 0
    start: int = 0
    acts_on_packets: bool = True
