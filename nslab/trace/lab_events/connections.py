"""A connection that conntrack makes or forgets (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent
from nslab.trace.observed import PROTOCOLS

if TYPE_CHECKING:
    from nslab.trace.lab_events.names import EventNames
    from nslab.trace.observed import ConntrackEntry


def connection_event(at: int, entry: ConntrackEntry, names: EventNames, *, destroyed: bool) -> LabEvent:
    """The event, with what NAT does to the connection."""
    asked, answer = entry.original, entry.reply
    protocol = PROTOCOLS.get(asked.protocol, str(asked.protocol))
    (source, sport, target, dport), (back_from, back_port, back_to, _) = asked.ends, answer.ends
    text = f"{protocol} {names.end('', str(source), sport)} -> {names.end(protocol, str(target), dport)}"
    nat: dict[str, str] = {}
    if (back_from, back_port) != (target, dport):
        nat["dnat"] = f"{back_from}:{back_port}" if back_port else f"{back_from}"
        text += f", DNAT to {names.end('', str(back_from), back_port)}"
    if back_to != source:
        nat["snat"] = f"{back_to}"
        text += f", SNAT to {names.address(str(back_to))}"
    facts = {"protocol": protocol, "source": asked.sender, "target": asked.receiver, **nat}
    if service := names.services.at(protocol, str(target), dport):
        facts["service"] = service.name
    action = EventAction.DESTROYED if destroyed else EventAction.NEW
    return LabEvent(at, entry.host, EventKind.CONNECTION, action, text, facts)
