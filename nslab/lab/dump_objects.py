"""Services, EndpointSlices and Deployments as documents, with everything written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab.finish import AFFINITY_SECONDS, drafted_service
from nslab.lab.types import ServiceType, TrafficPolicy

if TYPE_CHECKING:
    from nslab.lab.types import EndpointSlice, HealthCheck, Resources, SecurityContext, Service


def said(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that say something."""
    return {name: value for name, value in fields.items() if value}


def service(one: Service) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A Service's metadata, spec and status."""
    draft = drafted_service(one)
    metadata = _metadata(one.name, one.namespace, one.labels, one.annotations)
    spec = {
        "type": draft.type if one.type is not ServiceType.CLUSTER_IP else "",
        "clusterIP": draft.cluster_ip,
        "selector": draft.selector,
        "ports": [
            said(
                {
                    "name": port.name,
                    "port": port.port,
                    "targetPort": port.target if port.target != port.port else None,
                    "protocol": port.protocol,
                    "nodePort": port.node_port,
                }
            )
            for port in draft.ports
        ],
        "sessionAffinity": draft.affinity if one.affinity else "",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": one.affinity}}
        if one.affinity not in (0, AFFINITY_SECONDS)
        else {},
        "externalTrafficPolicy": draft.external_policy if one.external_policy is TrafficPolicy.LOCAL else "",
        "internalTrafficPolicy": draft.internal_policy if one.internal_policy is TrafficPolicy.LOCAL else "",
        "externalIPs": list(draft.external_ips),
        "loadBalancerSourceRanges": list(draft.source_ranges),
        "healthCheckNodePort": one.health_check_node_port,
        "externalName": one.external_name,
        "publishNotReadyAddresses": one.publish_not_ready,
    }
    # The one field whose `false` says something.
    no_node_ports = {"allocateLoadBalancerNodePorts": False} if draft.allocate is False else {}
    status = {"loadBalancer": {"ingress": [{"ip": ip} for ip in draft.ingress]}} if draft.ingress else {}
    return metadata, said(spec) | no_node_ports, status


def endpoint_slice(one: EndpointSlice) -> dict[str, Any]:
    """An EndpointSlice's fields, but for apiVersion and kind."""
    label = (("kubernetes.io/service-name", one.service),) if one.service else ()
    endpoints = [
        said(
            {
                "addresses": [str(end.address)],
                "conditions": {"ready": end.ready, "serving": end.serving, "terminating": end.terminating},
                "nodeName": end.node,
                "hostname": end.hostname,
                "targetRef": _target(end.pod),
                "hints": {"forZones": [{"name": zone} for zone in end.zones]} if end.zones else {},
            }
        )
        for end in one.endpoints
    ]
    ports = [{"name": name, "port": port, "protocol": str(protocol)} for name, port, protocol in one.ports]
    metadata = _metadata(one.name, one.namespace, label, ())
    return {"addressType": "IPv4", "metadata": metadata} | said({"endpoints": endpoints, "ports": ports})


def health_check(check: HealthCheck | None) -> dict[str, Any]:
    """A probe."""
    if check is None:
        return {}
    handler = said({"port": check.port, "path": check.path if check.kind == "httpGet" else ""})
    return {
        check.kind: handler,
        **said({"initialDelaySeconds": check.initial_delay}),
        "periodSeconds": check.period,
        "timeoutSeconds": check.timeout,
        "successThreshold": check.successes,
        "failureThreshold": check.failures,
    }


def security_context(context: SecurityContext) -> dict[str, Any]:
    """A securityContext, of a pod or a container."""
    numbers = {
        "runAsUser": context.user,
        "runAsGroup": context.group,
        "runAsNonRoot": context.non_root,
        "fsGroup": context.fs_group,
    }
    return {
        **{name: value for name, value in numbers.items() if value is not None},
        **said(
            {
                "supplementalGroups": list(context.groups),
                "capabilities": said({"add": list(context.add), "drop": list(context.drop)}),
                "readOnlyRootFilesystem": context.read_only,
            }
        ),
    }


def resources(limits: Resources) -> dict[str, Any]:
    """What a container may use."""
    return said({"limits": said({"memory": limits.memory, "ephemeral-storage": limits.storage})})


def _metadata(
    name: str, namespace: str, labels: tuple[tuple[str, str], ...], annotations: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    return said({"name": name, "namespace": namespace, "labels": dict(labels), "annotations": dict(annotations)})


def _target(pod: str) -> dict[str, str]:
    namespace, _, name = pod.partition("/")
    return {"kind": "Pod", "namespace": namespace, "name": name} if name else {}
