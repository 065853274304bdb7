"""What pods and endpoints become between two looks at what the nodes publish (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass
from nslab.proxy.names import port_name
from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from nslab.lab.types import Lab
    from nslab.proxy.model import ServiceInfo


class PodSeen(NamedTuple):
    """A pod as its node publishes it. `reasons`: of each container that does not run."""

    node: str
    address: str
    phase: str
    ready: bool
    terminating: bool
    restarts: int
    reasons: tuple[str, ...]


class EndpointSeen(NamedTuple):
    """An endpoint of a Service's port."""

    pod: str
    ready: bool
    terminating: bool


@dataclass(frozen=True, slots=True)
class ObjectsSeen:
    """The pods, by NAMESPACE/NAME, and the endpoints, by Service's port and IP:PORT."""

    pods: Mapping[str, PodSeen]
    endpoints: Mapping[tuple[str, str], EndpointSeen]


def objects_seen(lab: Lab, status: Mapping[str, Mapping[str, Any]], services: Iterable[ServiceInfo]) -> ObjectsSeen:
    """The objects now. `status`: what the nodes publish of each pod."""
    pods = {}
    for pod in lab.pods:
        name = f"{pod.namespace}/{pod.name}"
        seen = status.get(name, {})
        containers = seen.get("containers", {})
        pods[name] = PodSeen(
            pod.node, str(pod.assigned or ""), str(seen.get("phase", "Pending")), bool(seen.get("ready")),
            bool(pod.deletion), sum(int(one.get("restarts", 0)) for one in containers.values()),
            tuple(f"{key} {one.get('reason')}" for key, one in containers.items() if one.get("reason")),
        )  # fmt: skip
    endpoints = {
        (port_name(service, port), f"{end.ip}:{end.port}"): EndpointSeen(end.pod, end.ready, end.terminating)
        for service in services
        for port in service.ports
        for end in port.endpoints
    }
    return ObjectsSeen(pods, endpoints)


def object_events(at: int, before: ObjectsSeen, after: ObjectsSeen) -> Iterator[LabEvent]:
    """What changed: first the pods, then the endpoints."""
    for name in sorted({*before.pods, *after.pods}):
        yield from _pod(at, name, before.pods.get(name), after.pods.get(name))
    for key in sorted({*before.endpoints, *after.endpoints}):
        yield from _endpoint(at, key, before.endpoints.get(key), after.endpoints.get(key))


def _pod(at: int, name: str, old: PodSeen | None, new: PodSeen | None) -> Iterator[LabEvent]:
    now = new or old
    if old == new or not now:
        return
    action = EventAction.ADDED if not old else EventAction.CHANGED if new else EventAction.REMOVED
    facts = {"pod": name, "node": now.node, "address": now.address, "phase": now.phase, "ready": now.ready}
    words = [*_became(old, new)] if new else []
    yield LabEvent(at, now.node, EventKind.POD, action, ", ".join([f"{name} {now.address}".rstrip(), *words]), facts)


def _became(old: PodSeen | None, new: PodSeen) -> Iterator[str]:
    if not old or old.phase != new.phase:
        yield new.phase
    if (old.ready if old else False) != new.ready:
        yield "ready" if new.ready else "not ready"
    if new.terminating and not (old and old.terminating):
        yield "terminating"
    if old and new.restarts > old.restarts:
        yield f"restarted ({new.restarts})"
    yield from (f"container {reason}" for reason in new.reasons if not old or reason not in old.reasons)


def _endpoint(at: int, key: tuple[str, str], old: EndpointSeen | None, new: EndpointSeen | None) -> Iterator[LabEvent]:
    now = new or old
    if old == new or not now:
        return
    action = EventAction.ADDED if not old else EventAction.CHANGED if new else EventAction.REMOVED
    state = "terminating" if now.terminating else "ready" if now.ready else "not ready"
    service, address = key
    pod = f" {now.pod}" if now.pod else ""
    text = f"{service}: {address}{pod}{f', {state}' if new else ''}"
    yield LabEvent(at, "", EventKind.ENDPOINT, action, text, {"service": service, "address": address, "pod": now.pod,
                                                               "ready": now.ready})  # fmt: skip
