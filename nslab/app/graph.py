"""The picture of a lab: of its desired state without root, or of a running one with what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.app.drift import drift_of
from nslab.compiler import compile_lab
from nslab.dataclass import dataclass
from nslab.linux.observe.host import likely_host
from nslab.views.graph.build import graph, with_differences

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.views.graph.model import Graph


@dataclass(frozen=True, slots=True)
class Pictured:
    """A lab's picture, and the desired state that it shows."""

    graph: Graph
    state: State


def pictured(lab: Lab) -> Pictured:
    """The picture of a lab whose pods have addresses, for this machine as far as an ordinary user can know it."""
    state = compile_lab(lab, likely_host())
    return Pictured(graph(lab, state), state)


def live(name: str) -> Pictured:
    """The picture of a running lab, with what differs from its desired state. Needs root."""
    drift = drift_of(name)
    drawn = with_differences(graph(drift.lab, drift.want), drift.lab, drift.plan, drift.unmanaged)
    return Pictured(drawn, drift.want)
