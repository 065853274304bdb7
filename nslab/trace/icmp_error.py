"""The ICMP error that answers a packet which a host rejects, or does not pass on (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.trace.hops import TTL_OVER, Action, End
from nslab.trace.rules.packet import ICMP, HookPacket

if TYPE_CHECKING:
    from nslab.trace.branch import Branch
    from nslab.trace.predicted_host import PredictedHosts

_UNREACHABLE, _TIME_EXCEEDED = 3, 11
_HEADERS, _LONGEST = 28, 576
"""Bytes: of IP and ICMP, before the packet that is quoted; of all of it (icmp_send in icmp.c)."""


def icmp_error(there: Branch, hosts: PredictedHosts) -> Branch | None:
    """The error, on the host that sends it; None if it sends none, to itself, or to who has translated the packet."""
    asked = there.packet
    if not _is_told(there) or there.inner or there.nat or asked.reply:
        return None
    first = there.hops[0]
    if first.action is Action.SEND and first.host == hosts.name(there.ns):
        return None
    is_local = hosts.rules(there.ns)[1].kind(asked.destination) == "LOCAL"
    packet = HookPacket(
        asked.destination if is_local else hosts.source(there.ns, asked.source), asked.source, ICMP,
        icmp_type=_TIME_EXCEEDED if there.hops[-1].cause == TTL_OVER else _UNREACHABLE,
        length=min(_HEADERS + asked.length, _LONGEST), state="RELATED", reply=True, origin=asked.flow,
    )  # fmt: skip
    return replace(there, packet=packet, came=packet.flow, end=None, why="", handed="")


def _is_told(there: Branch) -> bool:
    """Whether the sender is told, and not by a TCP reset."""
    last = there.hops[-1] if there.hops else None
    if not last or last.action is not Action.REJECT:
        return last is not None and last.action is Action.LOST and there.end is End.UNREACHABLE
    return not last.matches or "tcp" not in last.matches[-1].rule.partition("eject")[2]
