"""The picture of a lab from its desired state, and what of a running one differs (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.objects.names import SWITCH, host, pod_host
from nslab.trace.wiring import cables, device, hosts, interfaces
from nslab.views.changes import findings
from nslab.views.graph.model import Box, Difference, Graph, Role, ServiceLine
from nslab.views.tree import service_rows, title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.lab.types import Lab
    from nslab.objects.base import Plan, State
    from nslab.trace.wiring import NetworkInterface


def graph(lab: Lab, state: State) -> Graph:
    """The picture of a lab whose pods have addresses. `state`: its desired state, compiled."""
    own = interfaces(state)
    # A pod in its node's network has no namespace.
    within = (pod_host(pod.namespace, pod.name) for pod in lab.pods if pod.host_network)
    boxes = [box for name in (*hosts(state), *within) for box in _boxes(lab, name, own)]
    services = tuple(ServiceLine(*row) for row in service_rows(lab))
    return Graph(lab.name, title(lab), lab.proxy_mode.value, tuple(boxes), tuple(cables(lab, state)), services)


def _boxes(lab: Lab, name: str, found: Mapping[str, Sequence[NetworkInterface]]) -> Iterator[Box]:
    """The box of a host; none for the lab's own process, which has no network."""
    own = tuple(found.get(name, ()))
    for pod in lab.pods:
        if pod_host(pod.namespace, pod.name) == name:
            shown = pod.name if pod.namespace == "default" else f"{pod.namespace}/{pod.name}"
            yield Box(name, f"{shown} (hostNetwork)" if pod.host_network else shown, Role.POD, own, pod.node)
            return
    roles = {one.name: Role.NODE for one in lab.nodes} | {one.name: Role.CLIENT for one in lab.clients}
    roles |= {one.name: Role.ROUTER for one in lab.routers} | {SWITCH: Role.SWITCH}
    if name in roles:
        yield Box(name, name, roles[name], own)


def with_differences(drawn: Graph, lab: Lab, plan: Plan, unmanaged: Mapping[str, Iterable[str]]) -> Graph:
    """The picture with what would be repaired by `plan`, and with what is not the lab's (by namespace)."""
    differing = [Difference(obj.host, device(obj), text) for obj, text in findings(lab, plan)]
    foreign = [
        Difference(host(ns), "", f"{host(ns)} has something that is not the lab's: {what}")
        for ns, some in unmanaged.items()
        for what in some
    ]
    return replace(drawn, findings=(*differing, *foreign))
