"""How a journey ends, and why: refused, rejected, unreachable, dropped and timed out are told apart (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.objects.names import host
from nslab.probes.evidence import Sighting, Trail, What
from nslab.trace.ending import described, ending
from nslab.trace.hops import NO_FORWARDING, NO_FORWARDING_THERE, Action, End, Hop
from nslab.trace.words import trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.objects.plan import Plan
    from nslab.trace.observed import Passing, WatchedPacket

_ENDS = {Action.DROP: End.DROPPED, Action.REJECT: End.REJECTED}


def end_of(seen: WatchedPacket, hops: Sequence[Hop]) -> End:
    """How it ends."""
    trail = trail_of(seen)
    if trail.reached and not (hops and hops[-1].action in _ENDS):
        return End.DELIVERED
    if stopped := next((hop for hop in hops if hop.action in _ENDS), None):
        return _ENDS[stopped.action]
    if trail.of(What.RESET):
        return End.REFUSED
    if errors := trail.of(What.ERROR):
        return End.REFUSED if errors[0].code == (3, 3) else End.UNREACHABLE
    return End.UNREACHABLE if seen.error and not seen.passings else End.LOST


def why(seen: WatchedPacket, hops: Sequence[Hop], target: str) -> str:
    """The cause of what was not delivered, in one sentence. `target`: the host that should answer; "" if unknown."""
    if stopped := next((hop for hop in hops if hop.action in _ENDS), None):
        verb = "rejects" if stopped.action is Action.REJECT else "drops"
        rule = f": {stopped.matches[-1]}" if stopped.matches else ""
        by = f" ({stopped.by})" if stopped.by else ""
        return f"{stopped.host} {verb} {'the reply' if stopped.reply else 'it'} by {stopped.cause}{rule}{by}"
    if seen.error and not seen.passings:
        return f"{seen.question.source} sends nothing: {seen.error}"
    end = ending(trail_of(seen), target)
    sentence = described([end])
    if end.refused and end.host == target:
        return f"{sentence}: it has the address, and nothing listens there on port {end.port}"
    if lost := next((hop for hop in hops if hop.action is Action.LOST), None):
        is_exact = lost.cause in (NO_FORWARDING, NO_FORWARDING_THERE)  # the counter is one for both
        counted = "; ".join(end.because) if end.host == lost.host and not is_exact else ""
        return f"{lost.host} does not pass {'the reply' if lost.reply else 'it'} on: {counted or lost.cause}"
    return sentence


def trail_of(seen: WatchedPacket) -> Trail:
    """The observation as `probe` follows a conversation."""
    sightings = tuple(_sighting(one) for one in seen.passings)
    return Trail(seen.question, sightings, seen.counts, seen.error, seen.unanswered, heard=True)


def _sighting(one: Passing) -> Sighting:
    header = one.header
    return Sighting(
        one.at, one.host, one.dev, one.leaving, one.what, header.source, header.target, one.astray, one.code,
        header.ports[1],
    )  # fmt: skip


def differences(plan: Plan, unmanaged: Mapping[str, Sequence[str]], hosts: Sequence[str]) -> list[str]:
    """What of the hosts on the way is not as the lab has it, in the order of the way, from its end."""
    found = []
    for name in dict.fromkeys(reversed(hosts)):
        found += [trouble(step) for step in plan if host(step.obj.ns) == name]
        found += [f"{name} has something that is not the lab's: {what}" for ns, some in unmanaged.items()
                  if host(ns) == name for what in some]  # fmt: skip
    return found
