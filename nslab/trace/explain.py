"""Explains a failed probe by the first object on the packet's path that differs from the lab (pure)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from nslab.objects.attachment import Attachment
from nslab.objects.chain_policy import ChainPolicy
from nslab.objects.inet import Address, Blackhole, Route
from nslab.objects.names import host
from nslab.objects.namespaces import Netns
from nslab.objects.other_routes import OtherRoute
from nslab.objects.plan import Remove
from nslab.objects.process import Process
from nslab.objects.script import command
from nslab.probes import Expected, Outcome
from nslab.trace.words import trouble, up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nslab.objects.plan import Plan, Step
    from nslab.probes import Result
    from nslab.trace.walk import Need


def explain(
    result: Result, needs: Sequence[Need], differences: Plan, unmanaged: Mapping[str, Sequence[str]] | None = None
) -> str:
    """One sentence with the repair. `differences`: the plan of `up` (`diff(have, want)`)."""
    for need in in_doubt(result, needs):
        for step in differences:
            if step.obj.key == need.key or _takes_over(step, need):
                return f"{trouble(step)}{_mending(step)}{_more(step, differences)}"
    ends = {result.probe.source, result.probe.target}
    way = {need.ns for need in needs}
    for step in differences:
        if isinstance(step.obj, ChainPolicy) and step.obj.ns in way:
            return f"{trouble(step)}{_mending(step)}"
        if isinstance(step.obj, Attachment) and host(step.obj.ns) in ends:
            return f"{trouble(step)}; {up(step.obj)} runs the plugins again"
        if isinstance(step, Remove) and _misplaced(step, result, needs):
            return f"{trouble(step)}{_mending(step)}"
    return _nothing_of_ours(result, needs, unmanaged or {})


def _mending(step: Step) -> str:
    """The command that repairs it; for a process, the call of `up`."""
    return f"; {up(step.obj)} mends it" if isinstance(step.obj, Process) else f": {command(step)}"


def in_doubt(result: Result, needs: Sequence[Need]) -> list[Need]:
    """The needs, with the most suspect ones for this result first."""
    expected = result.probe.expected_source
    if result.seen_from and expected and result.seen_from != expected:
        return sorted(needs, key=lambda need: not need.translates)
    if result.outcome is Outcome.ABSENT:
        return sorted(needs, key=lambda need: not isinstance(need.obj, Netns))
    if result.arrived_at and result.outcome is not Outcome.REACHED:
        return sorted(needs, key=lambda need: not need.reply)
    return list(needs)


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


def _more(step: Step, differences: Plan) -> str:
    """The number of objects that the kernel removed with it, in words."""
    gone = {step.obj.key}
    for other in differences:
        if any(below in gone for below in other.obj.requires):
            gone.add(other.obj.key)
    more = len(gone) - 1
    return f" ({more} more thing{'s' * (more > 1)} went with it; {up(step.obj)} puts all back)" if more else ""


def _nothing_of_ours(result: Result, needs: Sequence[Need], unmanaged: Mapping[str, Sequence[str]]) -> str:
    way = list(dict.fromkeys(need.ns for need in needs))
    for ns in way:
        if things := unmanaged.get(ns):
            return f"nothing of the lab differs on the way, but {host(ns)} has {_listed(things)}"
    probe = result.probe
    if probe.expected is Expected.FAIL:
        return f"nothing of the lab differs, and yet {probe.target} has what should not reach it"
    if result.outcome is Outcome.REFUSED and probe.port:
        return (
            f"nothing of the lab differs: packets arrive at {probe.target}, where nothing listens on port {probe.port}"
        )
    if result.detail == os.strerror(errno.ENOBUFS):
        return (
            "this machine's neighbour table is full, which all labs share: probe fewer pairs at a time (--from, --to), "
            "or allow it more: sysctl -w net.ipv4.neigh.default.gc_thresh3=16384"
        )
    between = f"nothing of the lab differs on the way ({', '.join(map(host, way))})"
    if result.seen_from and result.outcome is Outcome.REACHED:
        return f"{between}, but something makes {probe.source} look like {result.seen_from}"
    if result.arrived_at:
        return f"{between}; the packet arrived at {result.arrived_at}, so the answer gets lost on its way back"
    return f"{between}; the packet did not arrive at {probe.target}{_said(result)}"


def _said(result: Result) -> str:
    return f" ({result.detail})" if result.detail else ""


def _listed(things: Iterable[str]) -> str:
    first, *rest = things
    return f"something that is not the lab's: {first}" + (f" (and {len(rest)} more)" if rest else "")
