"""What happens in a lab (values only)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventKind(StrEnum):
    """What changed."""

    LINK = "link"
    ADDRESS = "address"
    ROUTE = "route"
    ROUTING_RULE = "ip rule"
    NEIGHBOUR = "neighbour"
    RULE = "rule"
    CONNECTION = "connection"
    POD = "pod"
    ENDPOINT = "endpoint"


class EventAction(StrEnum):
    """How it changed."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    NEW = "new"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class LabEvent:
    """One event. `at`: nanoseconds since 1970; `host`: where, "" for what is the cluster's; `facts`: for programs."""

    at: int
    host: str
    kind: EventKind
    action: EventAction
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
