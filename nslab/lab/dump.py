"""Writes a lab as YAML, which nslab stores under /run/nslab/LAB/: the documents with all allocated values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.document import EXISTING, Document
from nslab.api.scalars import STR, is_text
from nslab.api.service_types import ServiceType
from nslab.lab import bgp, termination
from nslab.lab.addons import KUBE_DNS
from nslab.lab.lab_document import LabDocument
from nslab.lab.network_rules import RULES, fields
from nslab.lab.stream import Documents
from nslab.lab.types import ONE_NUMBER, Scheduler

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod
    from nslab.api.service_types import Service
    from nslab.lab.types import Controller, Lab, Router


def dump(lab: Lab) -> str:
    """A YAML stream that loads back to an equal lab."""
    import yaml

    values = [lab_document(lab), *(one.value for one in documents(lab).objects())]
    return str(yaml.dump_all(values, Dumper=dumper(), sort_keys=False, default_flow_style=None, width=120))


def dumper() -> Any:
    """The class of a YAML dumper whose output nslab reads back as the same values."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # A replica shares its Deployment's spec; without this, YAML would write it as an alias.
    made: Any = type("Dumper", (base,), {"ignore_aliases": lambda *_: True})
    made.add_representer(str, lambda self, text: self.represent_scalar(STR, text, None if is_text(text) else "'"))
    return made


def documents(lab: Lab) -> Documents:
    """The documents of a lab, as the start of a change to it."""
    return Documents(
        LabDocument(lab_document(lab), EXISTING),
        pods=[Document(pod(one)) for one in lab.all_pods],
        services=[Document(service(one)) for one in lab.services],
        slices=[Document(one.document) for one in lab.slices],
        controllers=[Document(controller(one)) for one in lab.controllers],
        others=[Document(one.document) for one in lab.others],
    )


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with a non-empty value."""
    return {name: value for name, value in fields.items() if value}


def lab_document(lab: Lab) -> dict[str, Any]:
    """The Lab document, with every default written out."""
    nets, subnets = lab.networks, [*map(str, lab.networks.nodes)]
    proxy = {"mode": str(lab.proxy_mode), "scheduler": lab.scheduler if lab.scheduler != Scheduler.RR else ""}
    spec = {
        "networks": {
            "nodes": subnets[0] if len(subnets) == 1 else subnets,
            "pods": str(nets.pods),
            "services": str(nets.services),
        },
        "cni": {"plugin": str(lab.plugin), **fields(lab.plugin, lab.encapsulation), **_cni(lab)},
        "proxy": present(proxy),
        "dns": {"address": str(lab.dns_address)} if lab.dns_address else {},
        "nodes": [
            {
                "name": n.name,
                "address": str(n.address),
                "podCIDR": str(n.pod_cidr),
                **present({"labels": dict(n.labels)}),
            }
            for n in lab.nodes
        ],
        "clients": [{"name": c.name, "address": str(c.address)} for c in lab.clients],
        "routers": [
            present({"name": r.name, "addresses": [*map(str, r.addresses)], "bgp": _of_router(r)}) for r in lab.routers
        ],
    }
    reserved = {name: str(address) for name, address in lab.last_reserved}
    # The objects of kube-dns are among the Services and pods, unless somebody deleted them.
    addons = [KUBE_DNS] if lab.dns_address else []
    given: dict[str, Any] = {"lastReserved": reserved, "released": [*map(str, lab.released)]}
    given |= {"replaced": [*lab.replaced], "replicaSets": [*lab.replica_sets]}
    given["created"] = {key: termination.timestamp(seconds) for key, seconds in lab.created}
    status = present({"stored": True, **given, "addons": addons})
    head = {"apiVersion": "nslab/v1", "kind": "Lab", "metadata": {"name": lab.name}}
    return head | present({"spec": present(spec), "status": status})


def _of_router(router: Router) -> bool | dict[str, int]:
    return {"asNumber": router.as_number} if router.as_number else router.bgp


def _cni(lab: Lab) -> dict[str, Any]:
    """Calico's release, dataplane and BGP; plugins' configuration inline: the stored lab needs no file of a user."""
    cni = lab.cni
    if cni is None:
        calicos = {"calicoVersion": lab.calico_version, "dataplane": lab.dataplane}
        return (calicos if RULES[lab.plugin].release else {}) | ({"bgp": bgp.written(lab.bgp)} if lab.bgp else {})
    return {"config": cni.config, "path": list(cni.path), "routes": cni.routes, "masquerade": cni.masquerade}


def pod(one: Pod) -> dict[str, Any]:
    """A pod's document, with its node, its uid and its status."""
    value = one.document
    status = {name: present for name, present in value.get("status", {}).items() if name not in ("podIP", "conditions")}
    conditions = [each for each in value.get("status", {}).get("conditions", ()) if each.get("type") != "Ready"]
    conditions += [] if one.ready else [{"type": "Ready", "status": "False"}]
    status |= present({"podIP": str(one.assigned or ""), "conditions": conditions})
    # A pod may wait that has been on a node.
    spec = {field: given for field, given in value.get("spec", {}).items() if one.node or field != "nodeName"}
    return {
        **value,
        "metadata": {**value.get("metadata", {}), "name": one.name, "namespace": one.namespace, "uid": one.uid}
        | present({"deletionTimestamp": termination.timestamp(one.deletion)}),
        "spec": {**spec, **present({"nodeName": one.node})},
        **present({"status": status}),
    }


def service(one: Service) -> dict[str, Any]:
    """A Service's document, with its allocated addresses and ports."""
    value = one.document
    spec = {**value["spec"], **present({"healthCheckNodePort": one.health_check_node_port})}
    numbers = zip(spec.get("ports", ()), one.ports, strict=True)
    if one.ports:
        spec["ports"] = [{**port, **present({"nodePort": view.node_port})} for port, view in numbers]
    if one.cluster_ip:
        spec["clusterIP"] = str(one.cluster_ip)
    elif one.type is not ServiceType.EXTERNAL_NAME:
        spec["clusterIP"] = "None"
    made = {**value, "spec": spec}
    if one.load_balancer_ips and not value.get("status", {}).get("loadBalancer", {}).get("ingress"):
        ingress = [{"ip": str(ip)} for ip in one.load_balancer_ips]
        made["status"] = {**value.get("status", {}), "loadBalancer": {"ingress": ingress}}
    return made


def controller(one: Controller) -> dict[str, Any]:
    """A controller's document, with its number of replicas."""
    if one.kind in ONE_NUMBER:
        return {**one.document, "spec": {**one.document["spec"], "replicas": one.replicas}}
    return one.document
