"""Compute the journey of a packet from a lab's State: nothing is sent, and it works without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.app.desired import desired
from nslab.compiler import compile_lab
from nslab.compiler.networks import network
from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.lab.types import ProxyMode
from nslab.linux.observe.host import likely_host
from nslab.objects.names import netns
from nslab.trace.authors import Authors
from nslab.trace.denied import denied
from nslab.trace.endpoints import named_service, sized, source, target
from nslab.trace.hops import Journey
from nslab.trace.lab_prediction import LabPredictor
from nslab.trace.topology import topology

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.probes.probe import Kind
    from nslab.trace.endpoints import TraceTarget


def predict(name: str, sender: str, to: str, kind: Kind | None = None, size: int = 0) -> list[Journey]:
    """All journeys that a packet may take, each with its chance. UsageError if the lab has no such end.

    `name`: a lab that is up, if this user may read it; else a shipped lab or a file. `size`: see `app.trace.trace`.
    """
    lab = desired(name)
    if by := network(lab).WIRED_BY:
        text = f"no state has the way of {lab.name}'s pods, which is made {by if by.startswith('by ') else f'by {by}'}"
        raise UsageError(f"{text}; without --predict a real packet shows it")
    begin, aim = source(lab, sender), named_service(lab, sized(target(lab, to, kind), size), kind)
    found = journeys(predictor(lab, compile_lab(lab, likely_host())), lab.name, begin, aim)
    return [replace(one, notes=(*one.notes, *denied(lab, one.hops, begin))) for one in found]


def made_besides(lab: Lab) -> str:
    """Who makes what is on packets' way and in no State: CNI plugins, or a learner; "" if all is in it."""
    return network(lab).WIRED_BY or ("by hand" if lab.proxy_mode is ProxyMode.NONE else "")


def predictor(lab: Lab, state: State) -> LabPredictor:
    """Predicts for the lab's State; it reads each host's rules once."""
    return LabPredictor(lab.name, topology(state), Authors(lab.name, state))


def journeys(predicts: LabPredictor, lab: str, begin: str, aim: TraceTarget) -> list[Journey]:
    """All journeys from the host `begin` that the lab's State allows."""
    found = predicts.journeys(netns(lab, begin), aim)
    return [
        Journey(
            lab, begin, aim, one.hops, one.end, one.why,
            notes=tuple(f"not understood: {doubt}" for doubt in one.doubts),
            chance=float(one.chance) if one.chance is not None else None, computed=True,
        )
        for one in found
    ]  # fmt: skip
