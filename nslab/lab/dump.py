"""A lab as YAML again: what is kept under /run/nslab/LAB/, with every default written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab import dump_objects
from nslab.lab.addons import KUBE_DNS
from nslab.lab.defaults import host_name
from nslab.lab.dump_objects import said
from nslab.lab.fields import KINDS
from nslab.lab.replicas import HASH
from nslab.lab.types import RestartPolicy, Scheduler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Cni, Container, ContainerPort, Deployment, Lab, Pod


def dump(lab: Lab) -> str:
    """A stream that loads back to an equal lab."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    documents = list(_documents(lab))
    return str(yaml.dump_all(documents, Dumper=dumper, sort_keys=False, default_flow_style=None, width=120))


def _documents(lab: Lab) -> Iterator[dict[str, Any]]:
    """The Lab document, then one for each object."""
    reserved = {name: str(address) for name, address in lab.last_reserved}
    # Whatever of kube-dns is wished is among the Services and pods.
    status = {"lastReserved": reserved, "addons": [KUBE_DNS] if lab.dns_address else []}
    yield _object("Lab", {"name": lab.name}, _spec(lab), status)
    for service in lab.services:
        yield _object("Service", *dump_objects.service(service))
    for one in lab.slices:
        yield {**_kind("EndpointSlice"), **dump_objects.endpoint_slice(one)}
    for deployment in lab.deployments:
        yield _deployment(deployment)
    yield from map(_pod, lab.pods)


def _kind(kind: str) -> dict[str, Any]:
    """What a document begins with."""
    return {"apiVersion": KINDS[kind].api_version, "kind": kind}


def _object(kind: str, metadata: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """A document, without what is empty."""
    return _kind(kind) | {"metadata": said(metadata)} | said({"spec": spec, "status": said(status)})


def _spec(lab: Lab) -> dict[str, Any]:
    """The Lab document's spec."""
    nets, subnets = lab.networks, [*map(str, lab.networks.nodes)]
    proxy = {"mode": str(lab.proxy_mode), "scheduler": lab.scheduler if lab.scheduler != Scheduler.RR else ""}
    spec = {
        "networks": {
            "nodes": subnets[0] if len(subnets) == 1 else subnets,
            "pods": str(nets.pods),
            "services": str(nets.services),
        },
        "cni": {"plugin": str(lab.plugin), "encapsulation": str(lab.encapsulation), **_cni(lab.cni)},
        "proxy": said(proxy),
        "dns": {"address": str(lab.dns_address)} if lab.dns_address else {},
        "nodes": [{"name": n.name, "address": str(n.address), "podCIDR": str(n.pod_cidr)} for n in lab.nodes],
        "clients": [{"name": c.name, "address": str(c.address)} for c in lab.clients],
        "routers": [said({"name": r.name, "addresses": [*map(str, r.addresses)], "bgp": r.bgp}) for r in lab.routers],
    }
    return said(spec)


def _cni(cni: Cni | None) -> dict[str, Any]:
    """The plugins' configuration itself: what is kept does not depend on a user's file."""
    if cni is None:
        return {}
    return {"config": cni.config, "path": list(cni.path), "routes": cni.routes, "masquerade": cni.masquerade}


def _pod(pod: Pod) -> dict[str, Any]:
    """One Pod document."""
    metadata = {
        "name": pod.name,
        "namespace": pod.namespace,
        "labels": dict(pod.labels),
        "annotations": dict(pod.annotations),
        "uid": pod.uid,
        "ownerReferences": _owner(pod),
    }
    unready = [] if pod.ready else [{"type": "Ready", "status": "False"}]
    return _object(
        "Pod", metadata, _pod_spec(pod), {"podIP": str(pod.assigned) if pod.assigned else "", "conditions": unready}
    )


def _owner(pod: Pod) -> list[dict[str, Any]]:
    """The ReplicaSet that a Deployment would have made the pod by."""
    if not pod.owner:
        return []
    name = f"{pod.owner.partition('/')[2]}-{dict(pod.labels).get(HASH, '')}"
    return [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "controller": True}]


def _pod_spec(pod: Pod) -> dict[str, Any]:
    """A pod's spec, or a template's."""
    spec = {
        "nodeName": pod.node,
        "hostname": pod.hostname if pod.hostname != host_name(pod.name) else "",
        "shareProcessNamespace": pod.share_process_namespace,
        "restartPolicy": str(pod.restart_policy) if pod.restart_policy is not RestartPolicy.ALWAYS else "",
        "securityContext": dump_objects.security_context(pod.security),
        "containers": [_container(container) for container in pod.containers],
    }
    return said(spec)


def _deployment(one: Deployment) -> dict[str, Any]:
    """One Deployment document."""
    template = one.template
    labels = said({"labels": dict(template.labels), "annotations": dict(template.annotations)})
    spec = {
        "replicas": one.replicas,
        "selector": {"matchLabels": dict(one.selector)},
        "template": said({"metadata": labels, "spec": _pod_spec(template)}),
    }
    metadata = {"name": one.name, "namespace": one.namespace, "labels": dict(one.labels)}
    return _object("Deployment", metadata, spec, {})


def _port(port: ContainerPort) -> dict[str, Any]:
    """One port of a container."""
    named = {"containerPort": port.port, "protocol": str(port.protocol), "name": port.name, "hostPort": port.host_port}
    return said(named)


def _container(container: Container) -> dict[str, Any]:
    """One container of a pod."""
    return said(
        {
            "name": container.name,
            "image": container.image,
            "command": list(container.command),
            "args": list(container.args),
            "env": [{"name": name, "value": value} for name, value in container.env],
            "workingDir": container.working_dir if container.working_dir != "/" else "",
            "ports": [_port(port) for port in container.ports],
            "readinessProbe": dump_objects.health_check(container.readiness),
            "livenessProbe": dump_objects.health_check(container.liveness),
            "securityContext": dump_objects.security_context(container.security),
            "resources": dump_objects.resources(container.limits),
        }
    )
