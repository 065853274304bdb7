"""Defaults of a lab file.

| field | default |
|---|---|
| networks | the course's: nodes 192.168.59.0/24, pods 20.96.0.0/12, services 10.96.0.0/12 |
| plugin, encapsulation, calicoVersion, dataplane | calico 3.30, IPIP, iptables; flannel: backend vxlan |
| proxy mode | iptables |
| a node's address | the first free one of the (first) node network from its 22nd on (the course's node1 is .22) |
| a client's address | the first free one from its 10th on |
| a node's podCIDR | the first free /26 (calico) or /24 (all others) of the pod network |
| a pod's node | the one whose podCIDR has its requested address, else the selected one with the fewest pods |
| a pod's hostname, uid | its name; a UUID by hash of lab, namespace and name |
| the program of an image | see `images` |
| kube-dns | added if the lab has the name server's address (`addons`) |
| the slices of Endpoints that a user wrote | see `mirroring` |
| the pods of a controller (Deployment, StatefulSet, DaemonSet, Job …) | after the other pods (`replicas`) |
| Services' addresses and ports | see `allocate` |
"""

from __future__ import annotations

import hashlib
import json
import uuid
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from typing import TYPE_CHECKING, Any

from nslab.api import images
from nslab.api.pod_types import PROTOCOLS, ContainerPort
from nslab.dataclass import replace
from nslab.lab import views
from nslab.lab.addons import add_dns
from nslab.lab.mirroring import mirror
from nslab.lab.policy_views import is_policy, set_defaults
from nslab.lab.replicas import expand
from nslab.lab.scheduling import schedule
from nslab.lab.types import ONE_NUMBER, Plugin, ProxyMode, Scheduler
from nslab.policy.model import DEFAULT_DATAPLANE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents

    Targets = dict[str, list[tuple[set[tuple[str, str]], ContainerPort]]]

NODE_NETWORK = IPv4Network("192.168.59.0/24")
POD_NETWORK = IPv4Network("20.96.0.0/12")
SERVICE_NETWORK = IPv4Network("10.96.0.0/12")
FIRST_NODE, FIRST_CLIENT = 22, 10
REQUEST = "cni.projectcalico.org/ipAddrs"
"""The annotation by which a pod requests an address from Calico: a JSON list."""


def complete(found: Documents, *, expanded: bool = False) -> None:
    """Fill in missing fields in place; a field stays missing if its range has no free value.

    `expanded`: the pods of controllers are among the objects. All pods stay as they are, and those that wait wait.
    """
    _settings(found.lab)
    _machine_addresses(found.lab)
    _pod_cidrs(found.lab)
    add_dns(found)
    complete_objects(found, expanded=expanded)
    if not expanded:
        schedule(found)


def complete_objects(found: Documents, *, expanded: bool = False) -> None:
    """Fill in the defaults of Kubernetes objects, which do not depend on the lab's nodes and networks."""
    for one in found.services:
        _service(one.spec)
    mirror(found)
    for one in found.slices:
        for port in one.value.get("ports", ()):
            port["protocol"] = port.get("protocol") or "TCP"
    for one in filter(is_policy, found.others):
        set_defaults(one.spec)
    for one in found.controllers:
        if one.kind in ONE_NUMBER:
            one.spec.setdefault("replicas", 1)
        one.view = views.controller(one)
    for one in found.pods:
        one.view = views.pod(one.value)
    if not expanded:
        expand(found)
    targets = _targets(found)
    for one in found.pods:
        pod: Pod = one.view
        one.view = replace(
            images.played(pod, _sent_to(pod, targets)),
            requested=None if pod.host_network else requested(pod),
            document=with_host_ports(pod.document) if pod.host_network else pod.document,
            hostname=pod.hostname or host_name(pod.name),
            uid=pod.uid or uid(found.lab.name, pod.namespace, pod.name, found.lab.replaced),
        )


def _targets(found: Documents) -> Targets:
    """The numeric target ports of Services, each with its selector, by namespace."""
    made: Targets = {}
    for one in found.services:
        for port in one.spec.get("ports", ()) if one.spec.get("selector") else ():
            target, protocol = port.get("targetPort") or port.get("port"), port["protocol"]
            if isinstance(target, int) and protocol in PROTOCOLS:
                container_port = ContainerPort(target, PROTOCOLS[protocol])
                made.setdefault(one.namespace, []).append(({*one.spec["selector"].items()}, container_port))
    return made


def _sent_to(pod: Pod, targets: Targets) -> Iterator[ContainerPort]:
    labels = {*pod.labels}
    return (port for selector, port in targets.get(pod.namespace, ()) if selector <= labels)


def _service(spec: dict[str, Any]) -> None:
    """A Service's defaults; an empty string counts as missing (Kubernetes: SetDefaults_Service)."""
    spec["type"] = spec.get("type") or "ClusterIP"
    spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    for port in spec.get("ports", ()):
        port["protocol"] = port.get("protocol") or "TCP"
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec["externalTrafficPolicy"] = spec.get("externalTrafficPolicy") or "Cluster"


def gateway(network: IPv4Network) -> IPv4Address | None:
    """The gateway: the first host address of the node network, which the switch has; None in a /32."""
    return network[1] if network.num_addresses > 1 else None


def requested(pod: Pod) -> IPv4Address | None:
    """The address that a pod's annotation requests; None if it is missing or malformed."""
    try:
        match json.loads(dict(pod.annotations).get(REQUEST, "")):
            case [str(address)]:
                return IPv4Address(address)
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def with_host_ports(document: dict[str, Any]) -> dict[str, Any]:
    """A pod's document with the hostPort of each port that has none: with hostNetwork, the same number."""
    spec = document["spec"]
    listed = {name: [_on_host(one) for one in spec[name]] for name in ("containers", "initContainers") if name in spec}
    return {**document, "spec": {**spec, **listed}}


def _on_host(container: dict[str, Any]) -> dict[str, Any]:
    ports = [
        {**one, "hostPort": one.get("hostPort") or one.get("containerPort", 0)} for one in container.get("ports", ())
    ]
    return {**container, "ports": ports} if ports else container


def host_name(pod: str) -> str:
    """The hostname of a pod, as the kubelet truncates its name: 63 characters, without '-' or '.' at the end."""
    return pod[:63].rstrip("-.")


def uid(lab: str, namespace: str, pod: str, replaced: Sequence[str] = ()) -> str:
    """A pod's uid, derived by hash; a real API server generates a random one. Each successor has another one."""
    times = replaced.count(f"{namespace}/{pod}")
    seed = f"{lab}/{namespace}/{pod}/{times}" if times else f"{lab}/{namespace}/{pod}"
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def _settings(lab: LabDocument) -> None:
    """Networks, plugin, encapsulation and proxy mode."""
    if not lab.subnets:
        lab.networks["nodes"] = [*lab.node_networks, str(NODE_NETWORK)]
    lab.networks.setdefault("pods", str(POD_NETWORK))
    lab.networks.setdefault("services", str(SERVICE_NETWORK))
    lab.cni.setdefault("plugin", str(Plugin.CALICO))
    if lab.rules.backends:
        lab.cni.setdefault("backend", "vxlan")
    else:
        lab.cni.setdefault("encapsulation", str(lab.rules.encapsulation))
    if lab.rules.release:
        lab.cni.setdefault("calicoVersion", lab.rules.release)
        lab.cni.setdefault("dataplane", DEFAULT_DATAPLANE)
    lab.proxy.setdefault("mode", str(ProxyMode.IPTABLES))
    lab.proxy.setdefault("scheduler", str(Scheduler.RR))


def _machine_addresses(lab: LabDocument) -> None:
    """Assign addresses to nodes and clients without one, nodes first."""
    first = next(iter(lab.subnets.values()))
    taken = {machine.address for machine in (*lab.nodes, *lab.clients)} | {gateway(first)}
    taken |= {leg for router in lab.routers for leg in router.legs.values()}
    for machines, start in ((lab.node_list, FIRST_NODE), (lab.client_list, FIRST_CLIENT)):
        free = _hosts(first, start)
        for machine in machines:
            if "address" not in machine and (address := next((one for one in free if one not in taken), None)):
                machine["address"] = str(address)
                taken.add(address)


def _hosts(network: IPv4Network, first: int) -> Iterator[IPv4Address]:
    """A network's addresses from index `first` on, then those before it, except the first, the gateway and the last."""
    last = network.num_addresses - 1
    return (network[i] for i in chain(range(first, last), range(2, min(first, last))))


def _pod_cidrs(lab: LabDocument) -> None:
    """Assign podCIDRs to nodes without one: each the first block of the pod network that overlaps no other."""
    pods = lab.pod_network
    length = max(lab.rules.block, pods.prefixlen)
    size = 1 << 32 - length
    given = sorted(node.pod_cidr for node in lab.nodes if node.pod_cidr)
    at, end, passed = int(pods[0]), int(pods[-1]), 0
    for node in lab.node_list:
        if "podCIDR" in node:
            continue
        # Networks are nested or disjoint, and sorted, so one pass over both lists is enough.
        while passed < len(given) and int(given[passed][0]) < at + size:
            at = max(at, -(-(int(given[passed][-1]) + 1) // size) * size)
            passed += 1
        if at + size - 1 <= end:
            node["podCIDR"] = str(IPv4Network((at, length)))
        at += size
