"""What happens in a lab: a line each, or an object of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.views.packets import clock

if TYPE_CHECKING:
    from nslab.trace.lab_events.values import LabEvent


def event_line(event: LabEvent, columns: int) -> str:
    """A line. `columns`: of the host's name."""
    what = f"{event.kind.value} {event.action.value}"
    return f"{clock(event.at)} {event.host:<{columns}} {what:<20} {event.text}"


def event_json(event: LabEvent) -> dict[str, Any]:
    """The same as an object."""
    return {
        "time": event.at / 1e9,
        "host": event.host,
        "kind": event.kind.value,
        "action": event.action.value,
        "text": event.text,
        **event.facts,
    }
