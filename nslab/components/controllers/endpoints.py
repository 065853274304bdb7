"""The endpoints controller (pure): Services as they were put, the readiness of pods, and the endpoints that follow.

Services stay JSON text: they arrive and leave as JSON, and 10,000 of them take only a few MB.
"""

from __future__ import annotations

import json

from nslab.proxy.topology import zone_hints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Document = dict[str, Any]


class EndpointController:
    """Services by key, as put (`given`) and as published with pods' readiness (`published`); pods' statuses by node."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        self.published: dict[str, str] = {}
        self._pods: dict[str, dict[str, Document]] = {}
        self._behind: dict[str, set[str]] = {}  # pod to the Services that have it as an endpoint

    def pods(self) -> dict[str, Document]:
        """The statuses of all pods that nodes have reported."""
        return {pod: status for pods in self._pods.values() for pod, status in pods.items()}

    def put(self, services: Iterable[Document], removed: Iterable[str], whole: bool) -> set[str]:
        """Store Services, all of them (`whole`) or some; return the keys whose published form changes."""
        pods, before = self.pods(), {}
        came = {f"{service['namespace']}/{service['name']}": service for service in services}
        for key in {*removed, *came} | (self.given.keys() if whole else set()):
            before[key] = self.published.pop(key, "")
            self._forget(key)
        for key, service in came.items():
            for pod in _pods_of(service):
                self._behind.setdefault(pod, set()).add(key)
            self.given[key] = text = json.dumps(service)
            shown = masked(service, pods)
            self.published[key] = text if shown is service else json.dumps(shown)
        return {key for key, text in before.items() if text != self.published.get(key, "")}

    def status(self, node: str, pods: dict[str, Document]) -> set[str]:
        """Store the statuses of all pods of a node; return the keys of Services whose published form changes."""
        before = self._pods.get(node, {})
        self._pods[node] = pods
        differ = {pod for pod in before.keys() | pods.keys() if _state(before.get(pod)) != _state(pods.get(pod))}
        changed = set()
        for key in {key for pod in differ for key in self._behind.get(pod, ())}:
            shown = json.dumps(masked(json.loads(self.given[key]), self.pods()))
            if shown != self.published[key]:
                self.published[key] = shown
                changed.add(key)
        return changed

    def _forget(self, key: str) -> None:
        if key in self.given:
            for pod in _pods_of(json.loads(self.given.pop(key))):
                self._behind[pod].discard(key)


def ready(status: Document | None) -> bool | None:
    """Whether a pod with this status is ready; None without a status."""
    return None if status is None else bool(status.get("ready"))


def finished(status: Document | None) -> bool:
    """Whether a pod of this status has come to its end: whatever is published, it is no endpoint."""
    return status is not None and status.get("phase") in ("Succeeded", "Failed")


def _state(status: Document | None) -> tuple[bool | None, bool]:
    """What of a pod's status matters to endpoints."""
    return ready(status), finished(status)


def masked(service: Document, pods: Mapping[str, Document]) -> Document:
    """The Service with its endpoints' conditions set by their pods' readiness; the same object if nothing is known.

    Only this controller reads publishNotReadyAddresses: DNS and kube-proxies go by the conditions.
    """
    if not any(pod in pods for pod in _pods_of(service)):
        return service
    published = service.get("publish_not_ready", False)
    ports = [_port(port, pods, published) for port in service["ports"]]
    return {**service, "ports": _hinted(ports, service) if service.get("zone_shares") else ports}


def _hinted(ports: list[Document], service: Document) -> list[Document]:
    """The ports with hints for the zones of what is ready."""
    zones = dict(entry.split("/", 1) for entry in service["node_zones"])
    ready = {
        end["ip"]: zones.get(end.get("node"), "") for port in ports for end in _ends(port) if end.get("ready", True)
    }
    found = zone_hints(ready, service["zone_shares"])
    return [{**port, "endpoints": [_with_hint(end, found) for end in _ends(port)]} for port in ports]


def _with_hint(end: Document, found: Mapping[str, str]) -> Document:
    zone = found.get(end["ip"]) if end.get("ready", True) else None
    if end.get("zones") == ([zone] if zone else None):
        return end
    rest = {name: value for name, value in end.items() if name != "zones"}
    return {**rest, "zones": [zone]} if zone else rest


def _ends(port: Document) -> list[Document]:
    return port.get("endpoints", [])  # type: ignore[no-any-return]


def _port(port: Document, pods: Mapping[str, Document], published: bool) -> Document:
    if "endpoints" not in port:
        return port
    there = (end for end in port["endpoints"] if not finished(pods.get(end.get("pod", ""))))
    return {**port, "endpoints": [_endpoint(end, pods, published) for end in there]}


def _endpoint(end: Document, pods: Mapping[str, Document], published: bool) -> Document:
    known = ready(pods.get(end.get("pod", "")))
    if known is None:
        return end
    conditions = {name: value for name, value in end.items() if name not in ("ready", "serving")}
    # A terminating endpoint is not ready, but serving as long as its pod answers.
    if not published and (not known or end.get("terminating")):
        conditions["ready"] = False
    if not known:
        conditions["serving"] = False
    return conditions


def _pods_of(service: Document) -> set[str]:
    ends = (end for port in service.get("ports", ()) for end in port.get("endpoints", ()))
    return {end["pod"] for end in ends if end.get("pod")}
