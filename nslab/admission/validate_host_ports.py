"""Checks of host ports: within a pod with the API server's messages, and between the pods of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.admission.validate_pods import pod_specs
from nslab.api.sentences import duplicate, invalid, of_object
from nslab.api.words import shown
from nslab.errors import FieldError
from nslab.lab.host_ports import clash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import ContainerPort, Pod
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

MUST_MATCH = "must match `hostPort` when `hostNetwork` is true"


def host_ports(found: Documents) -> Iterator[FieldError]:
    """A pod wants each host port once; with hostNetwork, it has the container's number (ValidatePodSpec)."""
    for one, path, spec in pod_specs(found):
        for field in ("containers", "initContainers"):
            seen: set[str] = set()
            for place, port in _ports(spec, field):
                for error in _port((*path, *place), port, seen, host_network=bool(spec.get("hostNetwork"))):
                    yield of_object(one, error)


def _ports(spec: dict[str, Any], field: str) -> Iterator[tuple[FieldPath, dict[str, Any]]]:
    for index, container in enumerate(spec.get(field, ())):
        yield from (((field, index, "ports", place), port) for place, port in enumerate(container.get("ports", ())))


def _port(path: FieldPath, port: dict[str, Any], seen: set[str], *, host_network: bool) -> Iterator[FieldError]:
    number, own = port.get("hostPort") or 0, port.get("containerPort", 0)
    if host_network and number not in (0, own):
        yield FieldError((*path, "containerPort"), invalid(own, MUST_MATCH))
    if number := number or own * host_network:
        text = f"{port.get('protocol') or 'TCP'}/{port.get('hostIP', '')}/{number}"
        if text in seen and "containers" in path:
            yield FieldError((*path, "hostPort"), duplicate(text))
        seen.add(text)


def mapped_once(found: Documents) -> Iterator[FieldError]:
    """With CNI plugins, each host port of a node has one owner: a real scheduler would not place a second pod there."""
    for path, pod, port, first in clashes(found) if found.lab.rules.by_exec else ():
        text = f"two pods of {shown(pod.node)} want its port {port.host_port}/{port.protocol}"
        yield FieldError(path, text, first=first[0])


def declared(found: Documents) -> Iterator[tuple[FieldPath, Pod, ContainerPort]]:
    """Every host port of a pod that has a node, with its path."""
    for one in found.pods:
        for index, container in enumerate(one.view.containers if one.view.node else ()):
            for place, port in enumerate(container.ports):
                if port.host_port:
                    yield (*one.path, "spec", "containers", index, "ports", place, "hostPort"), one.view, port


def clashes(found: Documents) -> Iterator[tuple[FieldPath, Pod, ContainerPort, tuple[FieldPath, Pod]]]:
    """Every host port that another pod of the node has, with its path and pod, and with the other's."""
    seen: dict[tuple[str, int, str], list[tuple[FieldPath, Pod, ContainerPort]]] = {}
    for path, pod, port in declared(found):
        taken = seen.setdefault((pod.node, port.host_port, port.protocol), [])
        first = next(((there, other) for there, other, one in taken if other is not pod and clash(one, port)), None)
        if first:
            yield path, pod, port, first
        else:
            taken.append((path, pod, port))
