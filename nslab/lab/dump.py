"""A lab as YAML again: what is kept under /run/nslab/LAB/, with every default written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab.defaults import host_name
from nslab.lab.fields import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Container, Lab, Pod


def dump(lab: Lab) -> str:
    """A stream that loads back to an equal lab."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    documents = list(_documents(lab))
    return str(yaml.dump_all(documents, Dumper=dumper, sort_keys=False, default_flow_style=None, width=120))


def _documents(lab: Lab) -> Iterator[dict[str, Any]]:
    """The Lab document, then one for each pod."""
    yield _object("Lab", {"name": lab.name}, _spec(lab), {"lastReserved": {n: str(a) for n, a in lab.last_reserved}})
    yield from map(_pod, lab.pods)


def _object(kind: str, metadata: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """A document, without what is empty."""
    said = _said({"metadata": _said(metadata), "spec": _said(spec), "status": _said(status)})
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, **said}


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that say something."""
    return {name: value for name, value in fields.items() if value}


def _spec(lab: Lab) -> dict[str, Any]:
    """The Lab document's spec."""
    nets = lab.networks
    return {
        "networks": {"nodes": str(nets.nodes), "pods": str(nets.pods), "services": str(nets.services)},
        "cni": {"plugin": str(lab.plugin), "encapsulation": str(lab.encapsulation)},
        "proxy": {"mode": str(lab.proxy_mode)},
        "dns": {"address": str(lab.dns_address)} if lab.dns_address else {},
        "nodes": [{"name": n.name, "address": str(n.address), "podCIDR": str(n.pod_cidr)} for n in lab.nodes],
        "clients": [{"name": c.name, "address": str(c.address)} for c in lab.clients],
    }


def _pod(pod: Pod) -> dict[str, Any]:
    """One Pod document."""
    metadata = {
        "name": pod.name,
        "namespace": pod.namespace,
        "labels": dict(pod.labels),
        "annotations": dict(pod.annotations),
        "uid": pod.uid,
    }
    spec = {
        "nodeName": pod.node,
        "hostname": pod.hostname if pod.hostname != host_name(pod.name) else "",
        "shareProcessNamespace": pod.share_process_namespace,
        "containers": [_container(container) for container in pod.containers],
    }
    return _object("Pod", metadata, spec, {"podIP": str(pod.assigned) if pod.assigned else ""})


def _container(container: Container) -> dict[str, Any]:
    """One container of a pod."""
    return _said(
        {
            "name": container.name,
            "image": container.image,
            "command": list(container.command),
            "args": list(container.args),
            "env": [{"name": name, "value": value} for name, value in container.env],
            "workingDir": container.working_dir if container.working_dir != "/" else "",
            "ports": [
                _said({"containerPort": port.port, "protocol": str(port.protocol), "name": port.name})
                for port in container.ports
            ],
        }
    )
