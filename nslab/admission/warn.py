"""Warnings: what Kubernetes accepts silently, but is probably a mistake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.admission.validate_pods import of_pod, templates
from nslab.admission.warn_host_ports import idle_host_ports
from nslab.admission.warn_policies import policies
from nslab.admission.warn_sources import sources
from nslab.api.images import TOOLS
from nslab.api.pod_types import image_name
from nslab.api.selectors import matches
from nslab.api.words import counted, shown
from nslab.errors import FieldError
from nslab.lab.mirroring import is_endpoints
from nslab.lab.node_selector import REQUIRED, admits, labelled, selector
from nslab.lab.types import ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.api.pod_types import Pod
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

LEAST_MEMORY = 1 << 20
"""The least memory of any program, in bytes."""
INSTALLS = re.compile(r"(?<![\w./-])(apk|apt|apt-get|dnf|pip3?|yum|zypper)( -\S+)* (add|install|update|upgrade)\b")
SERVICE = "kubernetes.io/service-name"
TOPOLOGY_MODES = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")


def warnings(found: Documents) -> Iterator[FieldError]:
    """Warnings for Services without endpoints, EndpointSlices without a Service, futile probes, missing sources."""
    pods = _Pods(found.pods)
    sliced = {(one.namespace, one.labels.get(SERVICE, "")) for one in found.slices}
    for service in found.services:
        if service.spec.get("selector") and service.spec["type"] != "ExternalName":
            yield from _selector(service, pods, (service.namespace, service.name) in sliced)
    known = {(service.namespace, service.name) for service in found.services}
    for one in found.slices:
        place: FieldPath = (*one.path, "metadata", "labels")
        wanted = one.labels.get(SERVICE, "")
        if not wanted:
            text = f"EndpointSlice {shown(one.name)} has no label kubernetes.io/service-name, so no Service uses it"
            yield FieldError(place, text)
        elif (one.namespace, wanted) not in known:
            there = f"there is no Service {shown(wanted)} in namespace {shown(one.namespace)}"
            text = f"EndpointSlice {shown(one.name)} has no effect: {there}"
            names = tuple(name for namespace, name in known if namespace == one.namespace)
            yield FieldError((*place, SERVICE), text, word=wanted, known=names)
    for one in filter(is_endpoints, found.others):
        if (one.namespace, one.name) not in known:
            text = f"Endpoints {shown(one.name)} have no effect: there is no Service of their name in their namespace"
            yield FieldError((*one.path, "metadata", "name"), text)
    yield from _other_family(found)
    yield from _topology_mode(found)
    yield from _probes(found)
    yield from _memory(found)
    yield from _ports(found)
    yield from sources(found)
    yield from _installs(found)
    yield from _node_selectors(found)
    yield from idle_host_ports(found)
    yield from policies(found)


def _other_family(found: Documents) -> Iterator[FieldError]:
    """Endpoints and addresses that are for the kube-proxy of IPv6, or for none."""
    why = "which no kube-proxy of a lab reads: nslab's networks are IPv4 only"
    for one in found.slices:
        if (kind := one.value.get("addressType", "IPv4")) != "IPv4":
            yield FieldError(
                (*one.path, "addressType"), f"the endpoints of EndpointSlice {shown(one.name)} are {kind}, {why}"
            )
    for one in found.services:
        for field in ("externalIPs", "loadBalancerSourceRanges"):
            if wrong := [str(word) for word in one.spec.get(field, ()) if ":" in word]:
                text = f"{field} of Service {shown(one.name)} has {', '.join(map(shown, wrong))}, {why}"
                yield FieldError((*one.path, "spec", field), text)


def _topology_mode(found: Documents) -> Iterator[FieldError]:
    """Hints by the zones' shares of processors, for which the zones of nodes must be known."""
    zones = {node.labels.get(ZONE, "") for node in found.lab.nodes}
    if "" not in zones and len(zones) > 1:
        return
    for one in found.services:
        for name in TOPOLOGY_MODES:
            if one.spec.get("selector") and one.metadata.get("annotations", {}).get(name, "").lower() == "auto":
                text = f"Service {shown(one.name)}: the annotation {name} gives no hints, for they take nodes in zones"
                place: FieldPath = (*one.path, "metadata", "annotations", name)
                yield FieldError(place, f"{text}; label each node with {ZONE}", key=True)


class _Pods:
    """The pods, indexed by label."""

    def __init__(self, pods: list[Document]) -> None:
        self.pods = [one.view for one in pods]
        self.by_label: dict[tuple[str, str, str], set[int]] = {}
        for index, pod in enumerate(self.pods):
            for name, value in pod.labels:
                self.by_label.setdefault((pod.namespace, name, value), set()).add(index)

    def chosen(self, service: Document) -> list[Pod]:
        """The pods that a Service selects."""
        found = [self.by_label.get((service.namespace, *label), set()) for label in service.spec["selector"].items()]
        return [self.pods[index] for index in sorted(set.intersection(*found))]


def _selector(service: Document, pods: _Pods, sliced: bool) -> Iterator[FieldError]:
    """Warns of a selector that matches no pod, and of a target port that no container has."""
    chosen = pods.chosen(service)
    name, place = shown(service.name), (*service.path, "spec")
    if not chosen and not sliced:
        wanted = ",".join(f"{shown(key)}={shown(value)}" for key, value in service.spec["selector"].items())
        text = f"the selector of Service {name} matches no pod of namespace {shown(service.namespace)}: {wanted}"
        yield FieldError((*place, "selector"), text)
    elif chosen:
        ports = {(p.name, str(p.protocol)) for pod in chosen for one in pod.containers for p in one.ports if p.name}
        for index, port in enumerate(service.spec.get("ports", ())):
            target, used = port.get("targetPort"), port["protocol"]
            if isinstance(target, str) and target and (target, used) not in ports:
                there = tuple(sorted(word for word, protocol in ports if protocol == used))
                text = f"no container of the pods of Service {name} has a port {shown(target)} ({used})"
                yield FieldError((*place, "ports", index, "targetPort"), text, word=target, known=there)
            number = target or port.get("port")
            if isinstance(number, int) and (pod := _closed(chosen, number, used)):
                owner = pod.owner.rpartition("/")[2] or pod.name
                text = f"Service {name} sends to {number}, which no container of {shown(owner)} declares"
                yield FieldError((*place, "ports", index, "targetPort" if target else "port"), text)


def _closed(pods: list[Pod], number: int, protocol: str) -> Pod | None:
    """The first pod of stand-ins alone that do not listen on a port, so that calls are refused; None without one."""
    for pod in pods:
        ports = {(port.port, str(port.protocol)) for one in pod.containers if one.standin for port in one.standin.ports}
        if all(one.standin for one in pod.containers) and (number, protocol) not in ports:
            return pod
    return None


def _memory(found: Documents) -> Iterator[FieldError]:
    """Warns of tiny limits: 64m of memory is less than a byte; the author probably means 64M or 64Mi."""
    for _, place, pod in templates(found):
        for index, container in enumerate(pod.containers):
            if 0 < container.limits.memory < LEAST_MEMORY:
                text = (
                    f"container {shown(container.name)} may have {counted(container.limits.memory, 'byte')} of memory"
                )
                path = (*place, "spec", "containers", index, "resources", "limits", "memory")
                yield FieldError(path, f"{text}, in which no program starts; 64Mi is a usual limit")


def _ports(found: Documents) -> Iterator[FieldError]:
    """A port that several containers of a pod declare, or one of them twice: one process alone can listen there."""
    for _, at, pod in templates(found):
        ports: dict[tuple[int, str], tuple[FieldPath, str]] = {}
        for index, container in enumerate(pod.containers):
            for place, port in enumerate(container.ports):
                path: FieldPath = (*at, "spec", "containers", index, "ports", place, "containerPort")
                first, owner = ports.setdefault((port.port, port.protocol), (path, container.name))
                what = f"port {port.port}/{port.protocol}"
                if first != path and owner == container.name:
                    yield FieldError(path, f"container {shown(owner)} declares {what} twice", first=first)
                elif first != path:
                    text = f"containers {shown(owner)} and {shown(container.name)} both declare {what}"
                    yield FieldError(path, f"{text}, and a pod's containers share one network namespace", first=first)


def _installs(found: Documents) -> Iterator[FieldError]:
    """A package manager needs the internet and a writable root."""
    for _, place, pod in templates(found):
        for field, index, container in of_pod(pod):
            if container.image and image_name(container.image) not in TOOLS:
                continue  # a stand-in runs no command
            for name, words in (("command", container.command), ("args", container.args)):
                match = next(filter(None, map(INSTALLS.search, (" ".join(words), *words))), None)
                if match:
                    text = f"container {shown(container.name)} runs {shown(match[0])}, which fails: it has"
                    path = (*place, "spec", field, index, name)
                    yield FieldError(path, f"{text} this machine's programs, a read-only root and no internet")


def _node_selectors(found: Documents) -> Iterator[FieldError]:
    """Warnings for nodeSelectors and nodeAffinities that nslab cannot fulfil, because no node has the labels."""
    nodes = labelled(found.lab.nodes)
    for who, place, pod in templates(found):
        missing = [one for one in selector(pod) if not any(one.matches(labels) for labels in nodes.values())]
        if pod.document.get("spec", {}).get("nodeName"):
            continue
        if missing:
            listed = ", ".join(shown(str(one)) for one in missing)
            text = f"no node has the label {listed}" if len(missing) == 1 else f"no node has the labels {listed}"
            yield FieldError((*place, "spec", "nodeSelector"), f"{text}, by which {who} selects its nodes")
        elif any(admits(pod, name, labels) for name, labels in nodes.items()):
            continue
        elif pod.node_selector and not any(matches(selector(pod), labels) for labels in nodes.values()):
            listed = ", ".join(shown(str(one)) for one in selector(pod))
            text = f"no node has the labels {listed} together, by which {who} selects its nodes"
            yield FieldError((*place, "spec", "nodeSelector"), text)
        elif pod.node_affinity:
            listed = " or ".join(shown(str(term)) for term in pod.node_affinity)
            text = f"no node matches {listed}, by which {who} selects its nodes"
            yield FieldError((*place, "spec", "affinity", "nodeAffinity", REQUIRED), text)


def _probes(found: Documents) -> Iterator[FieldError]:
    """Warns of a probe with a port name that its container does not have: it fails forever."""
    for _, place, pod in templates(found):
        for index, container in enumerate(pod.containers):
            names = tuple(port.name for port in container.ports if port.name)
            for name, check in (("readinessProbe", container.readiness), ("livenessProbe", container.liveness)):
                if check and isinstance(check.port, str) and check.port not in names:
                    then = "fails" if name == "readinessProbe" else "never runs"
                    text = f"container {shown(container.name)} has no port {shown(check.port)}, so its {name} {then}"
                    path = (*place, "spec", "containers", index, name, check.kind, "port")
                    yield FieldError(path, text, word=check.port, known=names)
