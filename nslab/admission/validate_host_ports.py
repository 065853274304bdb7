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
        errors = (*_repeated(spec, path), *(_mismatches(spec, path) if spec.get("hostNetwork") else ()))
        yield from (of_object(one, error) for error in errors)


def _repeated(spec: dict[str, Any], at: FieldPath) -> Iterator[FieldError]:
    seen = set[str]()
    for path, port in _ports(spec, at, "containers"):
        number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else 0)
        text = f"{port.get('protocol') or 'TCP'}/{port.get('hostIP', '')}/{number}"
        if number and text in seen:
            yield FieldError((*path, "hostPort"), duplicate(text))
        seen.add(text)


def _mismatches(spec: dict[str, Any], at: FieldPath) -> Iterator[FieldError]:
    for path, port in (*_ports(spec, at, "containers"), *_ports(spec, at, "initContainers")):
        number = port.get("containerPort", 0)
        if port.get("hostPort") not in (None, 0, number):
            yield FieldError((*path, "containerPort"), invalid(number, MUST_MATCH))


def _ports(spec: dict[str, Any], at: FieldPath, field: str) -> Iterator[tuple[FieldPath, dict[str, Any]]]:
    for index, container in enumerate(spec.get(field, ())):
        for place, port in enumerate(container.get("ports", ())):
            yield (*at, field, index, "ports", place), port


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
