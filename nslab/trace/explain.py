"""Explains a failed probe by the first object on the packet's path that differs from the lab (pure)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from nslab.objects.attachment import Attachment
from nslab.objects.chain_policy import ChainPolicy
from nslab.objects.inet import Address
from nslab.objects.kernel_routes import KernelRoute
from nslab.objects.names import host
from nslab.objects.namespaces import Netns
from nslab.objects.other_routes import OtherRoute
from nslab.objects.plan import Add, Remove
from nslab.objects.process import Bird, Control, NodeComponent, Process
from nslab.objects.routes import Blackhole, Route
from nslab.objects.script import command
from nslab.probes import Expected, Outcome
from nslab.probes.cause import Cause, CauseKind
from nslab.trace.deviation import described
from nslab.trace.words import trouble, up

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nslab.objects.base import KernelObject
    from nslab.objects.plan import Plan, Step
    from nslab.probes import Result
    from nslab.trace.conversation import Lost
    from nslab.trace.ending import Ending
    from nslab.trace.needs import Need

_ELSEWHERE = (NodeComponent, Control)
"""What carries no packet from one host to another."""
_NEIGHBOURS_FULL = (
    "this machine's neighbour table is full, which all labs share: probe fewer pairs at a time (--from, --to), "
    "or allow it more: sysctl -w net.ipv4.neigh.default.gc_thresh3=16384"
)


def explain(
    result: Result,
    needs: Sequence[Need],
    differences: Plan,
    unmanaged: Mapping[str, Sequence[str]] | None = None,
    lost: Lost | None = None,
) -> Cause:
    """The cause, with the repair. `needs`: of the predicted conversation; `differences`: the plan of `up`.

    `lost`: where the conversation left the predicted way when it was followed; what differs there comes first.
    """
    end = lost.end if lost else None
    for need in in_doubt(result, needs, lost):
        for step in differences:
            if step.obj.key == need.key or _routes_to(step.obj, need) or _takes_over(step, need):
                return differs(
                    step, f"{trouble(step)}{_silent(step, differences) or _mending(step)}{_more(step, differences)}"
                )
    ends = {result.probe.source, result.probe.target}
    way = {need.ns for need in needs}
    for step in differences:
        if isinstance(step.obj, ChainPolicy) and step.obj.ns in way:
            return differs(step, f"{trouble(step)}{_mending(step)}")
        if isinstance(step.obj, Attachment) and host(step.obj.ns) in ends:
            return differs(step, f"{trouble(step)}; {up(step.obj)} runs the plugins again")
        if isinstance(step, Remove) and _misplaced(step, result, needs):
            return differs(step, f"{trouble(step)}{_mending(step)}")
    return _beside(differences, way, end) or _nothing_of_ours(result, needs, unmanaged or {}, lost)


def differs(step: Step, sentence: str) -> Cause:
    """The cause that a step would repair: what it removes is not the lab's."""
    kind = CauseKind.UNMANAGED if isinstance(step, Remove) else CauseKind.DIFFERS
    return Cause(sentence, kind, host(step.obj.ns), step.obj.by)


def _beside(differences: Plan, way: Collection[str], end: Ending | None) -> Cause | None:
    """What differs in a namespace on the way, although no packet of the lab needs it; first where it ends."""
    here = [step for step in differences if step.obj.ns in way and not isinstance(step.obj, _ELSEWHERE)]
    step = min(here, key=lambda step: end is None or host(step.obj.ns) != end.host, default=None)
    return differs(step, f"what differs on the way: {trouble(step)}{_mending(step)}") if step else None


def _mending(step: Step) -> str:
    """The command that repairs it; for a process, the call of `up`."""
    return f"; {up(step.obj)} mends it" if isinstance(step.obj, Process) else f": {command(step)}"


def in_doubt(result: Result, needs: Sequence[Need], lost: Lost | None = None) -> list[Need]:
    """The needs, with the most suspect ones for this result first: where packets end, what the next hop takes."""
    if lost and not lost.end.answered:
        needs = sorted(needs, key=lambda need: (need.where != lost.end.host, need.hop < lost.hop))
    expected = result.probe.expected_source
    if result.seen_from and expected and result.seen_from != expected:
        return sorted(needs, key=lambda need: not need.translates)
    if result.outcome is Outcome.ABSENT:
        return sorted(needs, key=lambda need: not isinstance(need.obj, Netns))
    if result.arrived_at and result.outcome is not Outcome.REACHED:
        return sorted(needs, key=lambda need: not need.reply)
    return list(needs)


def _routes_to(obj: KernelObject, need: Need) -> bool:
    """Whether it is a route that belongs to a needed address."""
    return isinstance(obj, KernelRoute) and need.key in obj.requires


def _takes_over(step: Step, need: Need) -> bool:
    """Whether an unmanaged route or address matches the look-up of `need` and leads elsewhere."""
    if not isinstance(step, Remove) or step.obj.ns != need.ns or need.to is None:
        return False
    match step.obj, need.obj:
        case Route() as route, Route() as ours:
            longer = route.to.prefixlen >= ours.to.prefixlen
            return need.to in route.to and longer and (route.dev, route.via) != (ours.dev, ours.via)
        case Route(to=to) | Blackhole(to=to) | OtherRoute(to=to), _:
            return need.to in to
        case Address(address=address), _:
            return address.ip == need.to
    return False


def _misplaced(step: Remove, result: Result, needs: Sequence[Need]) -> bool:
    """Whether a surplus object is at the packet's source, target or point of arrival, or has its destination."""
    ends = {result.probe.source, result.probe.target, result.arrived_at}
    if result.probe.expected is Expected.FAIL:
        ends |= {need.where for need in needs}
    match step.obj:
        case Address(address=address):
            return address.ip == result.probe.address
        case Route(to=to):
            return host(step.obj.ns) in ends and result.probe.address in to
    return False


def _silent(step: Step, differences: Plan) -> str:
    """The hosts whose BIRD does not run, if the step adds a route that BIRD writes."""
    if not isinstance(step, Add) or not isinstance(step.obj, Route) or step.obj.by != "BIRD":
        return ""
    hosts = [host(other.obj.ns) for other in differences if isinstance(other, Add) and isinstance(other.obj, Bird)]
    return f"; no BIRD runs on {', '.join(hosts)}, {up(step.obj)} starts it" if hosts else ""


def _more(step: Step, differences: Plan) -> str:
    """The number of objects that the kernel removed with it, in words."""
    gone = {step.obj.key}
    for other in differences:
        if any(below in gone for below in other.obj.requires):
            gone.add(other.obj.key)
    more = len(gone) - 1
    return f" ({more} more thing{'s' * (more > 1)} went with it; {up(step.obj)} puts all back)" if more else ""


def _nothing_of_ours(
    result: Result, needs: Sequence[Need], unmanaged: Mapping[str, Sequence[str]], lost: Lost | None
) -> Cause:
    end = lost.end if lost else None
    way = list(dict.fromkeys(need.ns for need in needs))
    for ns in sorted(way, key=lambda ns: end is None or host(ns) != end.host):
        if things := unmanaged.get(ns):
            sentence = f"nothing of the lab differs on the way, but {host(ns)} has {_listed(things, end)}"
            return Cause(sentence, CauseKind.UNMANAGED, host(ns))
    return _at_its_end(result, end) or _unexplained(result, lost)


def _at_its_end(result: Result, end: Ending | None) -> Cause | None:
    """What the target or the kernel showed."""
    probe = result.probe
    if probe.expected is Expected.FAIL:
        return Cause(f"nothing of the lab differs, and yet {probe.target} has what should not reach it")
    if result.outcome is Outcome.REFUSED and probe.port and (end is None or (end.host == probe.target and end.refused)):
        nothing_listens = f"packets arrive at {probe.target}, where nothing listens on port {probe.port}"
        return Cause(f"nothing of the lab differs: {nothing_listens}", CauseKind.SEEN, probe.target)
    if result.detail == os.strerror(errno.ENOBUFS):
        return Cause(_NEIGHBOURS_FULL, CauseKind.SEEN)
    if end and end.mute:
        hangs = f"{probe.target}'s server on port {probe.port} takes connections, and hangs"
        return Cause(f"nothing of the lab differs: {hangs}", CauseKind.SEEN, probe.target)
    return None


def _unexplained(result: Result, lost: Lost | None) -> Cause:
    """Where it ended, if anybody saw it: pairs that end alike have one cause, whatever their ways."""
    probe, between = result.probe, "nothing of the lab differs on the way"
    if result.seen_from and result.outcome is Outcome.REACHED:
        return Cause(f"{between}, but something makes {probe.source} look like {result.seen_from}")
    if lost and lost.end.answered:
        return Cause(between)
    if lost:
        predicted = f"; the lab's state predicts: {described(lost.missing)}" if lost.missing else ""
        return Cause(f"{between}{predicted}", host=lost.end.host)
    if result.arrived_at:
        where = "" if result.arrived_at == probe.target else f" at {result.arrived_at}"
        return Cause(f"{between}; the packet arrived{where}, so the answer gets lost on its way back")
    return Cause(f"{between}; the packet did not arrive{_said(result)}")


def _said(result: Result) -> str:
    return f" ({result.detail})" if result.detail else ""


def _listed(things: Sequence[str], end: Ending | None) -> str:
    """The first thing, or the one that counted the packet; and the number of the others."""
    rules = " ".join(end.because) if end else ""
    first = next((thing for thing in things if _rule(thing) and _rule(thing) in rules), things[0])
    more = f" (and {len(things) - 1} more)" if len(things) > 1 else ""
    return f"something that is not the lab's: {first}{more}"


def _rule(thing: str) -> str:
    """What `iptables-save` says of a rule, out of what `diff` says."""
    return thing[thing.find("-A ") :].partition(" (")[0] if "-A " in thing else ""
