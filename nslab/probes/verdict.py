"""Localizes a fault by four cells, same or other node, pod or Service address, and by what was found (pure)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.probes.calls import Way
from nslab.probes.cause import UNKNOWN, Cause, CauseKind
from nslab.probes.probe import Expected, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nslab.probes.calls import Answer, Call, CallResult
    from nslab.probes.probe import Probe, ProbeHost, Result

    Causes: TypeAlias = Mapping[Probe | Call, Cause]

KUBE_PROXY = "kube-proxy"
"""The component by whose rules a Service's address is translated."""
NEAR, FAR, POD, SERVICE = "same node", "other node", "pod address", "service address"
Cell: TypeAlias = tuple[str, str]
"""The location of the server, and the kind of address."""


@dataclass(slots=True)
class Square:
    """The four cells of one kind of client (`pod` or `node`): the number of probes and of failures in each."""

    role: str
    asked: dict[Cell, int] = field(default_factory=dict)
    failed: dict[Cell, int] = field(default_factory=dict)
    causes: dict[Cause, None] = field(default_factory=dict)
    """What was found of the failures, each once."""

    def count(self, where: str, what: str, cause: Cause | None = None, *, right: bool) -> None:
        """Count one probe. `cause`: of a failed one, if it is known."""
        self.asked[where, what] = self.asked.get((where, what), 0) + 1
        self.failed[where, what] = self.failed.get((where, what), 0) + (not right)
        if cause and not right:
            self.causes[cause] = None


def squares(
    places: Sequence[ProbeHost],
    results: Iterable[Result],
    calls: Iterable[CallResult],
    causes: Causes = MappingProxyType({}),
) -> tuple[Square, Square]:
    """Pods' and nodes' four cells. Only arrival counts, not the source address that a server sees.

    `causes`: of the probes and calls that went wrong.
    """
    by_name = {place.name: place for place in places}
    results = [*results]
    lost = {
        result.probe.pair
        for result in results
        if result.probe.kind in (Kind.TCP, Kind.UDP) and result.outcome is not Outcome.REACHED
    }
    found = {"pod": Square("pod"), "node": Square("node")}
    for result in results:
        source, target = by_name[result.probe.source], by_name[result.probe.target]
        if (
            source.role in found
            and target.role == "pod"
            and source != target
            and result.probe.expected is Expected.REACH
        ):
            near = NEAR if source.node == target.node else FAR
            reached = result.outcome is Outcome.REACHED
            found[source.role].count(near, POD, causes.get(result.probe), right=reached)
    for called in calls:
        square = found.get(by_name[called.call.source].role)
        if not square or called.call.way is not Way.CLUSTER_IP or called.call.outcome is not Outcome.REACHED:
            continue
        silent = _drawn_in_vain(called, lost)
        for answer in called.call.answers:
            # A silent endpoint is a failure; an endpoint that the mode did not choose is inconclusive.
            if answer in silent or answer.hostname in called.answered:
                near, cause = NEAR if answer.near else FAR, causes.get(called.call)
                square.count(near, SERVICE, cause, right=answer not in silent)
    return found["pod"], found["node"]


def _drawn_in_vain(called: CallResult, lost: Collection[tuple[str, str]]) -> Sequence[Answer]:
    """The endpoints whose connections failed: those that were seen to be drawn, or fail by their own address, too."""
    silent = called.silent
    alike = [one for one in silent if {(called.call.source, one.pod), (called.call.node, one.pod)} & {*lost}]
    some = any(attempt.outcome is Outcome.REACHED for attempt in called.tries)
    return alike if alike and some and not called.lost_pods else silent


def verdict(square: Square) -> str:
    """A sentence: which cells fail, and where to look by what was found; "" if there is no fault."""
    pods = [where for where in (NEAR, FAR) if square.failed.get((where, POD))]
    services = [where for where in (NEAR, FAR) if square.failed.get((where, SERVICE))]
    if not pods and not services:
        return ""
    who = f"for {square.role}s"
    if not pods:
        return f"{who}, every pod's address answers and a Service's does not: {advice(square.causes)}"
    fails = f"{who}, pods' own addresses fail ({_where(pods)})"
    if not {*services} <= {*pods}:
        more = f"Services fail where those answer, too ({_where(services)})"
        return f"{fails}, but {more}: {advice(square.causes)}"
    if not services:
        return f"{fails}: {advice(square.causes)}"
    # That all is well with kube-proxy's rules is known only where each failure has a cause elsewhere.
    known = all(cause.kind not in UNKNOWN and cause.by != KUBE_PROXY for cause in square.causes)
    elsewhere = ", not at kube-proxy" if known and square.causes else ""
    return f"{fails}, and so do the Services behind them: {advice(square.causes)}{elsewhere}"


def advice(causes: Iterable[Cause]) -> str:
    """Where to look: where something was found, and nowhere else."""
    found: dict[str, dict[str, None]] = {}
    ends: dict[str, None] = {}
    skipped = False
    for cause in causes:
        if cause.kind in UNKNOWN:
            ends |= dict.fromkeys(filter(None, [cause.host]))
            skipped = skipped or cause.kind is CauseKind.NOT_FOLLOWED
        else:
            found.setdefault(_what(cause), {})[cause.host or "this machine"] = None
    if found:
        return f"look at {_where([f'{what}{_few(hosts)}' for what, hosts in found.items()])}"
    most = ", and only some of the failures were followed" if skipped else ""
    return f"no cause was found{most}{f'; packets end at {_few(ends)}' if ends else ''}"


def _what(cause: Cause) -> str:
    if cause.kind is CauseKind.UNMANAGED:
        return "what is not the lab's on "
    if cause.kind is CauseKind.SEEN or cause.by in ("", "the machines"):
        return ""
    return f"the {cause.by} of " if " " in cause.by else f"{cause.by} of "


def names_fail(calls: Sequence[CallResult], causes: Causes = MappingProxyType({})) -> str:
    """A sentence, if Services answer by address and not by name; else ""."""
    named = [result for result in calls if result.call.way is Way.NAME and not result.call.lost]
    addressed = [result for result in calls if result.call.way is Way.CLUSTER_IP]
    unresolved = [result.call for result in named if result.unresolved]
    if not unresolved or any(result.wrong for result in addressed):
        return ""
    found = [causes[call] for call in unresolved if call in causes]
    return f"Services answer by address and not by name: {advice(found)}"


def _where(rows: Sequence[str]) -> str:
    return " and ".join(rows)


def _few(names: Iterable[str]) -> str:
    some = [*names]
    return ", ".join(some if len(some) <= 4 else [*some[:3], f"{len(some) - 3} more"])
