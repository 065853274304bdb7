"""The picture of a lab from its desired state, and what of a running one differs (pure)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from nslab.compiler.networks import network
from nslab.dataclass import replace
from nslab.objects.attachment import Attachment
from nslab.objects.base import OnDevice
from nslab.objects.inet import Address, Route
from nslab.objects.links import Device, Veth
from nslab.objects.names import SWITCH, host, pod_host
from nslab.objects.namespaces import Netns
from nslab.objects.ports import BridgePort
from nslab.views.changes import findings
from nslab.views.graph.model import Box, Finding, Graph, Interface, Role, ServiceLine
from nslab.views.tree import service_rows, title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, Plan, State
    from nslab.views.graph.model import End


def graph(lab: Lab, state: State) -> Graph:
    """The picture of a lab whose pods have addresses. `state`: its desired state, compiled."""
    interfaces = _interfaces(state)
    boxes = [box for obj in state if isinstance(obj, Netns) for box in _boxes(lab, obj.host, interfaces)]
    services = tuple(ServiceLine(*row) for row in service_rows(lab))
    return Graph(lab.name, title(lab), lab.proxy_mode.value, tuple(boxes), tuple(_cables(lab, state)), services)


def _interfaces(state: State) -> Mapping[str, Sequence[Interface]]:
    """Each host's interfaces, in the order in which they are made."""
    addresses: dict[End, list[str]] = defaultdict(list)
    bridges: dict[End, str] = {}
    for obj in state:
        match obj:
            case Address():
                addresses[obj.host, obj.dev].append(str(obj.address))
            case Attachment():
                addresses[obj.host, obj.wiring.ifname].append(str(obj.address))
            case BridgePort():
                bridges[obj.host, obj.dev] = obj.bridge
            case _:
                pass
    found: dict[str, list[Interface]] = defaultdict(list)
    for (where, name), kind, mtu in (end for obj in state for end in _ends(obj)):
        end = where, name
        found[where].append(Interface(name, kind, tuple(addresses[end]), mtu, bridges.get(end, "")))
    return found


def _ends(obj: KernelObject) -> Iterator[tuple[End, str, int]]:
    """The interfaces that an object is, each with its kind and MTU."""
    match obj:
        case Device():
            for ns, name in obj.ends():
                yield (host(ns), name), obj.driver, obj.mtu
        case Attachment():
            yield (obj.host, obj.wiring.ifname), "veth", 0
        case _:
            pass


def _boxes(lab: Lab, name: str, interfaces: Mapping[str, Sequence[Interface]]) -> Iterator[Box]:
    """The box of a host; none for the lab's own process, which has no network."""
    own = tuple(interfaces.get(name, ()))
    for pod in lab.pods:
        if pod_host(pod.namespace, pod.name) == name:
            shown = pod.name if pod.namespace == "default" else f"{pod.namespace}/{pod.name}"
            yield Box(name, shown, Role.POD, own, pod.node)
            return
    roles = {one.name: Role.NODE for one in lab.nodes} | {one.name: Role.CLIENT for one in lab.clients}
    roles |= {one.name: Role.ROUTER for one in lab.routers} | {SWITCH: Role.SWITCH}
    if name in roles:
        yield Box(name, name, roles[name], own)


def _cables(lab: Lab, state: State) -> Iterator[tuple[End, End]]:
    nodes = {pod_host(pod.namespace, pod.name): pod for pod in lab.pods}
    for obj in state:
        match obj:
            case Veth():
                yield (obj.host, obj.name), (host(obj.peer_ns), obj.peer)
            case Attachment():
                link = network(lab).pod_link(nodes[obj.host]) if obj.host in nodes else ""
                yield (host(obj.node), link), (obj.host, obj.wiring.ifname)
            case _:
                pass


def with_differences(drawn: Graph, lab: Lab, plan: Plan, unmanaged: Mapping[str, Iterable[str]]) -> Graph:
    """The picture with what would be repaired by `plan`, and with what is not the lab's (by namespace)."""
    differing = [Finding(obj.host, dev, text) for obj, text in findings(lab, plan) for dev in devices(obj)]
    foreign = [
        Finding(host(ns), "", f"{host(ns)} has something that is not the lab's: {what}")
        for ns, some in unmanaged.items()
        for what in some
    ]
    return replace(drawn, findings=(*differing, *foreign))


def devices(obj: KernelObject) -> list[str]:
    """The interface of its host that an object concerns; "" if none."""
    match obj:
        case Device():
            return [obj.name]
        case OnDevice() | Route():
            return [obj.dev]
        case Attachment():
            return [obj.wiring.ifname]
        case _:
            return [""]
