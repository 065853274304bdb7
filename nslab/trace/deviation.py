"""Where a packet leaves the way that the lab's State predicts: in a broken lab, that is the diagnosis (pure)."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from nslab.trace.hops import Action, End

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.trace.hops import Hop, Journey

_DONE = {
    Action.SEND: "sends it from {dev}",
    Action.BRIDGE: "bridges it to {dev}",
    Action.DNAT: "translates its target to {receiver}",
    Action.SNAT: "translates its source to {sender}",
    Action.REVERSE_DNAT: "translates its source back to {sender}",
    Action.REVERSE_SNAT: "translates its target back to {receiver}",
    Action.FORWARD: "forwards it to {dev}",
    Action.ENCAPSULATE: "puts it into the tunnel at {dev}",
    Action.DECAPSULATE: "takes it out of the tunnel at {dev}",
    Action.RECEIVE: "receives it at {dev}",
    Action.DROP: "drops it",
    Action.REJECT: "rejects it",
    Action.LOST: "does not pass it on",
}
_WITH_REPLY = (End.DELIVERED, End.LOST, End.DROPPED)
"""Other ends come back as a packet of their own: a reset, which no prediction has, or an ICMP error."""


class Deviation(NamedTuple):
    """The first hop that differs. None where there is no further hop; not both."""

    predicted: Hop | None
    seen: Hop | None

    def __str__(self) -> str:
        first = self.predicted or self.seen
        reply = " of the reply" if first and first.reply else ""
        return f"the lab's state predicts{reply}: {described(self.predicted)}; seen: {described(self.seen)}"


def key(hop: Hop) -> tuple[object, ...]:
    """What a hop that was seen has in common with its prediction: all but the ports that the kernel chooses."""
    header, outer = hop.header, hop.outer
    return (
        hop.host, hop.action, hop.reply, header.source, header.target, header.ports[0 if hop.reply else 1],
        outer and (outer.source, outer.target), hop.by,
    )  # fmt: skip


def deviation(seen: Journey, predicted: Sequence[Journey]) -> Deviation | None:
    """The first hop that is in no prediction. None if all are, and if a prediction is not sure."""
    if not predicted or any(journey.chance is None for journey in predicted):
        return None
    ways = [_first(*comparable(seen, journey), _lost_at(journey)) for journey in predicted]
    longest = max(ways, key=lambda way: way[0])
    return None if any(one is None for _, one in ways) else longest[1]


def comparable(seen: Journey, predicted: Journey) -> tuple[list[Hop], list[Hop]]:
    """The hops of both: without those of a reset or of an ICMP error, unless both have them.

    Linux sends few ICMP errors a second, so one that is missing proves nothing.
    """
    replies = (
        seen.end in _WITH_REPLY
        or any(hop.reply and hop.action is Action.REJECT for hop in seen.hops)
        or (seen.end is predicted.end and all(any(hop.reply for hop in one.hops) for one in (seen, predicted)))
    )
    return [hop for hop in seen.hops if replies or not hop.reply], [
        hop for hop in predicted.hops if replies or not hop.reply
    ]


def _lost_at(predicted: Journey) -> str:
    """The host that is the last to have a packet; "" if it is not lost."""
    return predicted.hops[-1].host if predicted.end is End.LOST and predicted.hops else ""


def _first(seen: Sequence[Hop], predicted: Sequence[Hop], lost_at: str = "") -> tuple[int, Deviation | None]:
    """The number of hops that agree, and the first that does not.

    Nobody sees a host send what it has no neighbour for: there, a loss and a packet that nobody takes are one.
    """
    for number, (did, should) in enumerate(zip_longest(seen, predicted)):
        if did and did.action is Action.LOST and did.host == lost_at:
            return number, None
        if did is None or should is None or key(did) != key(should):
            return number, Deviation(should, did)
    return len(seen), None


def described(hop: Hop | None) -> str:
    """What a host does, and why."""
    if not hop:
        return "nothing more"
    header = hop.header
    done = _DONE[hop.action].format(dev=hop.dev, sender=header.sender, receiver=header.receiver)
    because = f" ({hop.cause})" if hop.cause else ""
    by = f" [{hop.by}]" if hop.by else ""
    return f"{hop.host} {done}{because}{by}"
