"""The objects of a running lab as an API server has them: with their status, and with those that controllers make."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.api.duration import moment
from nslab.api.pod_status import has_condition
from nslab.compiler.endpoints import resolve
from nslab.dataclass import replace
from nslab.lab import creation, dump, node_selector
from nslab.lab.views import FINISHED
from nslab.views.controllers import controllers, with_active_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.api.pod_types import Pod
    from nslab.api.service_types import Service
    from nslab.lab.stream import Documents
    from nslab.lab.types import Lab, Node
    from nslab.proxy.model import Endpoint, Port, ServiceInfo


Object = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"
VERSION = "v1.37.0"
"""The Kubernetes whose objects nslab reads."""
RUNTIME = "nslab://0.1"
"""The nodes' container runtime, as TYPE://VERSION."""


class Live(NamedTuple):
    """What is known of a running lab.

    `pods`: those of nslab.views.pods, by NAMESPACE/NAME. `nodes`: those whose processes run. `created`: the age of its
    oldest process, in seconds since the epoch, if the lab does not know when it came up.
    """

    pods: Mapping[str, Object]
    nodes: frozenset[str]
    created: float


def objects(lab: Lab, live: Live) -> list[Object]:
    """Every object: the user's, the nodes, the namespaces, ReplicaSets and EndpointSlices."""
    found = dump.documents(lab)
    made = [
        *(node(one, running=one.name in live.nodes) for one in lab.nodes),
        *_namespaces(found),
        *(_with_families(one.value) for one in found.services),
        *controllers(lab, live.pods, time.time()),
        *live.pods.values(),
        *(one.value for one in found.slices),
        *_slices(lab, live),
        *(with_active_jobs(one.value, lab) for one in found.others if one.kind != "Namespace"),
    ]
    times = dict(lab.created)
    return [_aged(one, times, times.get(creation.LAB, live.created)) for one in made]


def _aged(one: Object, times: Mapping[str, int], came: float) -> Object:
    """The object with its time; what is made for a Service has the Service's. `came`: the lab's."""
    metadata = one.get("metadata", {})
    kind, name = one["kind"], str(metadata.get("name", ""))
    if kind in ("EndpointSlice", "Endpoints"):
        kind, name = "Service", (metadata.get("labels") or {}).get(SERVICE_NAME, name)
    own = times.get(creation.key(kind, metadata.get("namespace", ""), name), came)
    return {**one, "metadata": {"creationTimestamp": moment(own), **metadata}}


def node(one: Node, *, running: bool) -> Object:
    """A node; it is ready while its process, its kubelet, runs."""
    labels = {**node_selector.labels(one)}
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
                "containerRuntimeVersion": RUNTIME,
                "operatingSystem": labels[node_selector.OS],
                "architecture": labels[node_selector.ARCH],
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


def _slices(lab: Lab, live: Live) -> Iterator[Object]:
    """The EndpointSlice of each Service that selects pods, and its Endpoints."""
    selecting = {f"{one.namespace}/{one.name}": one for one in lab.services if one.selector}
    pods = (_seen(one, live.pods[f"{one.namespace}/{one.name}"]) for one in lab.pods)
    for one in resolve(replace(lab, pods=tuple(pods))):
        if service := selecting.get(one.key):
            yield from _of_service(service, one)


def _seen(pod: Pod, document: Object) -> Pod:
    """The pod as the endpoints controller sees it: ready, finished, or neither."""
    return replace(pod, ready=has_condition(document, "Ready"), finished=document["status"]["phase"] in FINISHED)


def _with_families(service: Object) -> Object:
    """A Service with what the API server adds to one that has an address, or none of its own (headless)."""
    if not (address := service["spec"].get("clusterIP")):
        return service
    added = {"clusterIPs": [address], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    return {**service, "spec": {**added, **service["spec"]}}


def _of_service(service: Service, one: ServiceInfo) -> Iterator[Object]:
    ends = {end.ip: end for port in one.ports for end in port.endpoints}
    head = {"namespace": service.namespace, "labels": {SERVICE_NAME: service.name}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service.name}-{_letters_of(service)}", **head},
        "addressType": "IPv4",
        "endpoints": [*map(_end, ends.values())],
        "ports": [_port(port) for port in one.ports],
    }
    addresses = [_address(end) for end in ends.values() if end.ready]
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


def _end(end: Endpoint) -> Object:
    hinted = (("forZones", end.zones), ("forNodes", end.nodes))
    hints = {name: [{"name": one} for one in whom] for name, whom in hinted if whom}
    return {
        "addresses": [end.ip],
        "conditions": {"ready": end.ready, "serving": end.serving, "terminating": end.terminating},
        **({"nodeName": end.node} if end.node else {}),
        **({"hints": hints} if hints else {}),
        **_target(end),
    }


def _address(end: Endpoint) -> Object:
    return {"ip": end.ip, **({"nodeName": end.node} if end.node else {}), **_target(end)}


def _target(end: Endpoint) -> Object:
    namespace, _, name = end.pod.partition("/")
    return {"targetRef": {"kind": "Pod", "namespace": namespace, "name": name}} if name else {}
