"""The objects of a running lab as an API server has them: with their status, and with those that controllers make."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.api.duration import moment
from nslab.api.pod_status import has_condition
from nslab.compiler.endpoints import resolve
from nslab.lab import dump
from nslab.lab.node_selector import ARCH, ARCHITECTURE, HOSTNAME, OS
from nslab.lab.replicas import template_hash
from nslab.lab.types import DAEMON_SET, ONE_NUMBER, TEMPLATE_HASH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Lab, Node, Service
    from nslab.proxy.model import Endpoint, Port
    from nslab.proxy.model import Service as Resolved

Object = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"
VERSION = "v1.37.0"
"""The Kubernetes whose objects nslab reads."""


class Live(NamedTuple):
    """What is known of a running lab.

    `pods`: those of nslab.views.pods, by NAMESPACE/NAME. `nodes`: those whose processes run. `created`: when the lab
    came up, in seconds since the epoch.
    """

    pods: Mapping[str, Object]
    nodes: frozenset[str]
    created: float


def objects(lab: Lab, live: Live) -> list[Object]:
    """Every object: the user's, the nodes, the namespaces, ReplicaSets and EndpointSlices."""
    found, statuses = dump.documents(lab), _statuses(lab, live)
    made = [
        *(node(one, running=one.name in live.nodes) for one in lab.nodes),
        *_namespaces(found),
        *(one.value for one in found.services),
        *({**dump.controller(one), "status": statuses[one.owner_name]} for one in lab.controllers),
        *_replica_sets(lab, statuses),
        *live.pods.values(),
        *(one.value for one in found.slices),
        *_slices(lab, live),
        *(one.value for one in found.others if one.kind != "Namespace"),
    ]
    return [_aged(one, live) for one in made]


def _aged(one: Object, live: Live) -> Object:
    metadata = one.get("metadata", {})
    return {**one, "metadata": {"creationTimestamp": moment(live.created), **metadata}}


def node(one: Node, *, running: bool) -> Object:
    """A node; it is ready while its process, its kubelet, runs."""
    labels = {
        HOSTNAME: one.name,
        OS: "linux",
        ARCH: ARCHITECTURE,
        **dict(one.labels),
    }
    ready = {"type": "Ready", "status": "True" if running else "Unknown"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": one.name, "labels": labels},
        "spec": {"podCIDR": str(one.pod_cidr), "podCIDRs": [str(one.pod_cidr)]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": str(one.address)},
                {"type": "Hostname", "address": one.name},
            ],
            "conditions": [ready],
            "nodeInfo": {
                "kubeletVersion": VERSION,
                "kernelVersion": platform.release(),
                "osImage": platform.system(),
                "operatingSystem": "linux",
                "architecture": labels[ARCH],
            },
        },
    }


def _namespaces(found: Documents) -> Iterator[Object]:
    """Those that objects are in, and those that every cluster has."""
    written = {one.name: one.value for one in found.others if one.kind == "Namespace"}
    used = {one.namespace for one in found.objects()} - {""}
    for name in sorted({"default", "kube-system", *used, *written}):
        document = written.get(name, {})
        metadata = {**document.get("metadata", {}), "name": name}
        yield {"apiVersion": "v1", "kind": "Namespace", **document, "metadata": metadata, "status": {"phase": "Active"}}


def _statuses(lab: Lab, live: Live) -> dict[str, Object]:
    """The status of each controller, by its owner name."""
    owned = defaultdict(list)
    for one in lab.pods:
        owned[one.owner].append(live.pods[f"{one.namespace}/{one.name}"])
    return {one.owner_name: _status(one, owned[one.owner_name]) for one in lab.controllers}


def _status(controller: Controller, pods: Sequence[Object]) -> Object:
    """How many of a controller's pods there are, and are ready."""
    ready, count = sum(has_condition(one, "Ready") for one in pods), len(pods)
    if controller.kind == DAEMON_SET:
        names = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled")
        return {**dict.fromkeys(names, count), "numberReady": ready, "numberAvailable": ready}
    if controller.kind in ONE_NUMBER:
        numbers = {"replicas": count, "updatedReplicas": count, "readyReplicas": ready, "availableReplicas": ready}
        return {name: number for name, number in numbers.items() if number}
    phases = Counter(one["status"]["phase"] for one in pods)
    done = phases["Succeeded"]
    over = {"conditions": [{"type": "Complete", "status": "True"}]} if count and done == count else {}
    return {"succeeded": done, "active": phases["Pending"] + phases["Running"], **over}


def _replica_sets(lab: Lab, statuses: Mapping[str, Object]) -> Iterator[Object]:
    """The ReplicaSet of each Deployment's template."""
    for one in lab.controllers:
        if one.kind != "Deployment":
            continue
        hashed = template_hash(one.template)
        spec, label = one.document["spec"], {TEMPLATE_HASH: hashed}
        template = spec.get("template", {})
        metadata = template.get("metadata", {})
        labels = {**metadata.get("labels", {}), **label}
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": one.name, "controller": True}
        yield {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{one.name}-{hashed}",
                "namespace": one.namespace,
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": {
                "replicas": one.replicas,
                "selector": {"matchLabels": {**dict(one.selector), **label}},
                "template": {**template, "metadata": {**metadata, "labels": labels}},
            },
            "status": statuses[one.owner_name],
        }


def _slices(lab: Lab, live: Live) -> Iterator[Object]:
    """The EndpointSlice of each Service that selects pods, and its Endpoints."""
    selecting = {f"{one.namespace}/{one.name}": one for one in lab.services if one.selector}
    for one in resolve(lab):
        if service := selecting.get(one.key):
            yield from _of_service(service, one, live)


def _of_service(service: Service, one: Resolved, live: Live) -> Iterator[Object]:
    ends = {end.ip: end for port in one.ports for end in port.endpoints}
    head = {"namespace": service.namespace, "labels": {SERVICE_NAME: service.name}}
    serving = {ip: end.serving and _pod_ready(end, live) for ip, end in ends.items()}
    ready = {ip: service.publish_not_ready or (serving[ip] and not end.terminating) for ip, end in ends.items()}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service.name}-{_letters_of(service)}", **head},
        "addressType": "IPv4",
        "endpoints": [_end(end, ready=ready[ip], serving=serving[ip]) for ip, end in ends.items()],
        "ports": [_port(port) for port in one.ports],
    }
    addresses = [_address(end) for ip, end in ends.items() if ready[ip]]
    yield {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": service.name, "namespace": service.namespace},
        "subsets": [{"addresses": addresses, "ports": [_port(port) for port in one.ports]}] if addresses else [],
    }


def _letters_of(service: Service) -> str:
    """The letters behind the name of a Service's slice."""
    return service.document.get("metadata", {}).get("uid", "")[:5] or "nslab"


def _port(port: Port) -> Object:
    target = next((end.port for end in port.endpoints), port.port)
    return {**({"name": port.name} if port.name else {}), "port": target, "protocol": port.protocol}


def _end(end: Endpoint, *, ready: bool, serving: bool) -> Object:
    return {
        "addresses": [end.ip],
        "conditions": {"ready": ready, "serving": serving, "terminating": end.terminating},
        **({"nodeName": end.node} if end.node else {}),
        **_target(end),
    }


def _address(end: Endpoint) -> Object:
    return {"ip": end.ip, **({"nodeName": end.node} if end.node else {}), **_target(end)}


def _target(end: Endpoint) -> Object:
    namespace, _, name = end.pod.partition("/")
    return {"targetRef": {"kind": "Pod", "namespace": namespace, "name": name}} if name else {}


def _pod_ready(end: Endpoint, live: Live) -> bool:
    pod = live.pods.get(end.pod)
    return pod is None or has_condition(pod, "Ready")
