"""What is in a lab's namespaces and is not the lab's: it is named, and left alone until somebody asks for more."""

from __future__ import annotations

from nslab.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """One thing of others' in the namespace `ns`.

    `what`: how `diff` names it. `removal`: the commands that take it away, typed in that namespace. `pid`, `start`: the
    process that it is, and when that was started; 0 if it is none. `acts_on_packets`: whether it can keep a packet
    from its way.
    """

    ns: str
    what: str
    removal: tuple[str, ...] = ()
    pid: int = 0
    start: int = 0
    acts_on_packets: bool = True
