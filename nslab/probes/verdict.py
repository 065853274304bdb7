"""Localizes a fault by four cells: same or other node, pod address or Service address (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.probes.calls import Way
from nslab.probes.pairs import Expected, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.probes.calls import CallResult
    from nslab.probes.pairs import Place, Result

NEAR, FAR, POD, SERVICE = "same node", "other node", "pod address", "service address"
Cell: TypeAlias = tuple[str, str]
"""The location of the server, and the kind of address."""


@dataclass(slots=True)
class Square:
    """The four cells of one kind of client (`pod` or `node`): the number of probes and of failures in each."""

    role: str
    asked: dict[Cell, int] = field(default_factory=dict)
    failed: dict[Cell, int] = field(default_factory=dict)
    nodes: dict[str, None] = field(default_factory=dict)
    """The nodes whose rules translate the failed calls."""

    def count(self, where: str, what: str, *, right: bool) -> None:
        """Count one probe."""
        self.asked[where, what] = self.asked.get((where, what), 0) + 1
        self.failed[where, what] = self.failed.get((where, what), 0) + (not right)


def squares(places: Sequence[Place], results: Iterable[Result], calls: Iterable[CallResult]) -> tuple[Square, Square]:
    """Pods' and nodes' four cells. Only arrival counts, not the source address that a server sees."""
    by_name = {place.name: place for place in places}
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
            found[source.role].count(near, POD, right=result.outcome is Outcome.REACHED)
    for called in calls:
        square = found.get(by_name[called.call.source].role)
        if not square or called.call.way is not Way.CLUSTER_IP or called.call.outcome is not Outcome.REACHED:
            continue
        for answer in called.call.answers:
            # A silent endpoint is a failure; an endpoint that the mode did not choose is inconclusive.
            if answer in called.silent or answer.hostname in called.answered:
                square.count(NEAR if answer.near else FAR, SERVICE, right=answer not in called.silent)
        if called.silent:
            square.nodes[called.call.node] = None
    return found["pod"], found["node"]


def verdict(square: Square) -> str:
    """A sentence that names the faulty component; "" if there is no fault."""
    pods = [where for where in (NEAR, FAR) if square.failed.get((where, POD))]
    services = [where for where in (NEAR, FAR) if square.failed.get((where, SERVICE))]
    if not pods and not services:
        return ""
    who = f"for {square.role}s"
    if not pods:
        return (
            f"{who}, every pod's address answers and a Service's does not: look at kube-proxy of {_few(square.nodes)}"
        )
    if set(services) <= set(pods):
        same = ", and so do the Services behind them" if services else ""
        return (
            f"{who}, pods' own addresses fail ({_where(pods)}){same}: look at the pod network (CNI), not at kube-proxy"
        )
    return (
        f"{who}, pods' own addresses fail ({_where(pods)}), but Services fail where those answer, too "
        f"({_where(services)}): look at the pod network (CNI) first, then at kube-proxy of {_few(square.nodes)}"
    )


def names_fail(calls: Sequence[CallResult]) -> str:
    """A sentence, if Services answer by address and not by name; else ""."""
    named = [result for result in calls if result.call.way is Way.NAME and not result.call.lost]
    addressed = [result for result in calls if result.call.way is Way.CLUSTER_IP]
    if any(result.unresolved for result in named) and not any(result.wrong for result in addressed):
        return "Services answer by address and not by name: look at kube-dns"
    return ""


def _where(rows: Sequence[str]) -> str:
    return " and ".join(rows)


def _few(nodes: Iterable[str]) -> str:
    some = [*nodes]
    return ", ".join(some if len(some) <= 4 else [*some[:3], f"{len(some) - 3} more"])
