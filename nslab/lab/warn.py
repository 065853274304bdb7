"""What Kubernetes takes without a word, and what still is probably not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.lab.plugins import idle_host_ports
from nslab.lab.words import Complaint, counted, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.draft import LabDraft, PodDraft, ServiceDraft
    from nslab.lab.words import Path

LEAST_MEMORY = 1 << 20
"""Bytes that any program takes."""


def warnings(draft: LabDraft) -> Iterator[Complaint]:
    """Services that lead nowhere, EndpointSlices that belong to nothing, probes that can never succeed."""
    pods = _Pods(draft.pods)
    sliced = {(one.namespace, one.service) for one in draft.slices}
    for service in draft.services:
        if service.selector and service.type != "ExternalName":
            yield from _selector(service, pods, (service.namespace, service.name) in sliced)
    known = {(service.namespace, service.name) for service in draft.services}
    for one in draft.slices:
        place: Path = (one.document, "metadata", "labels")
        if not one.service:
            text = f"EndpointSlice {shown(one.name)} has no label kubernetes.io/service-name, so no Service uses it"
            yield Complaint(place, text)
        elif (one.namespace, one.service) not in known:
            there = f"there is no Service {shown(one.service)} in namespace {shown(one.namespace)}"
            text = f"EndpointSlice {shown(one.name)} is of no use: {there}"
            names = tuple(name for namespace, name in known if namespace == one.namespace)
            yield Complaint((*place, "kubernetes.io/service-name"), text, word=one.service, known=names)
    yield from _probes(draft)
    yield from _memory(draft)
    yield from _unheeded(draft)
    yield from idle_host_ports(draft)


class _Pods:
    """The pods, found by their labels."""

    def __init__(self, pods: list[PodDraft]) -> None:
        self.pods = pods
        self.by_label: dict[tuple[str, str, str], set[int]] = {}
        for index, pod in enumerate(pods):
            for name, value in pod.labels.items():
                self.by_label.setdefault((pod.namespace, name, value), set()).add(index)

    def chosen(self, service: ServiceDraft) -> list[PodDraft]:
        """Those that a Service selects."""
        found = [self.by_label.get((service.namespace, *label), set()) for label in service.selector.items()]
        return [self.pods[index] for index in sorted(set.intersection(*found))]


def _selector(service: ServiceDraft, pods: _Pods, sliced: bool) -> Iterator[Complaint]:
    """A selector that matches nothing, or a named port that nobody has."""
    chosen = pods.chosen(service)
    name, place = shown(service.name), (service.document, "spec")
    if not chosen and not sliced:
        wanted = ",".join(f"{shown(key)}={shown(value)}" for key, value in service.selector.items())
        text = f"the selector of Service {name} matches no pod of namespace {shown(service.namespace)}: {wanted}"
        yield Complaint((*place, "selector"), text)
    elif chosen:
        ports = {(p.name, str(p.protocol)) for pod in chosen for one in pod.containers for p in one.ports if p.name}
        for index, port in enumerate(service.ports):
            if isinstance(port.target, str) and port.target and (port.target, port.protocol) not in ports:
                there = tuple(sorted(word for word, protocol in ports if protocol == port.protocol))
                text = f"no container of the pods of Service {name} has a port {shown(port.target)} ({port.protocol})"
                yield Complaint((*place, "ports", index, "targetPort"), text, word=port.target, known=there)


def _unheeded(draft: LabDraft) -> Iterator[Complaint]:
    """What is asked for in vain, and would be seen on a real cluster: all of it at once, where the first of it is."""
    found: dict[str, Path] = {}
    for pod in _written(draft):
        for name in pod.security.unheeded:
            found.setdefault(name, (*pod.place, "spec", "securityContext"))
        for index, container in enumerate(pod.containers):
            for field, asked in (("resources", container.limits), ("securityContext", container.security)):
                for name in asked.unheeded:
                    found.setdefault(name, (*pod.place, "spec", "containers", index, field))
    if found:
        yield Complaint(next(iter(found.values())), f"nslab does not act on {listed([*map(shown, found)])}")


def _written(draft: LabDraft) -> tuple[PodDraft, ...]:
    """The pods and the templates that the file has; replicas are made of these."""
    return *(pod for pod in draft.pods if not pod.inside), *(one.template for one in draft.deployments)


def _memory(draft: LabDraft) -> Iterator[Complaint]:
    """64m of memory is less than a byte: 64M is meant, or 64Mi."""
    for pod in _written(draft):
        for index, container in enumerate(pod.containers):
            if 0 < container.limits.memory < LEAST_MEMORY:
                text = (
                    f"container {shown(container.name)} may have {counted(container.limits.memory, 'byte')} of memory"
                )
                path = (*pod.place, "spec", "containers", index, "resources", "limits", "memory")
                yield Complaint(path, f"{text}, in which no program starts; 64Mi is a usual limit")


def _probes(draft: LabDraft) -> Iterator[Complaint]:
    """A probe that names a port which its container does not have fails forever."""
    for pod in _written(draft):
        for index, container in enumerate(pod.containers):
            names = tuple(port.name for port in container.ports if port.name)
            for name, check in (("readinessProbe", container.readiness), ("livenessProbe", container.liveness)):
                if check and isinstance(check.port, str) and check.port not in names:
                    then = "fails" if name == "readinessProbe" else "asks nobody"
                    text = f"container {shown(container.name)} has no port {shown(check.port)}, so its {name} {then}"
                    path = (*pod.place, "spec", "containers", index, name, check.kind, "port")
                    yield Complaint(path, text, word=check.port, known=names)
