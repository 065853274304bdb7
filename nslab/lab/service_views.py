"""Views of Services and EndpointSlices."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from nslab.api import pod_types, service_document, service_types
from nslab.api.addresses import valid_address
from nslab.api.service_types import ServiceType, TrafficPolicy
from nslab.lab.allocate import unset_fields

if TYPE_CHECKING:
    from nslab.api.document import Document

AFFINITY_SECONDS = 10800
"""The default time-out of ClientIP affinity, in seconds."""
_TYPES = {str(kind): kind for kind in ServiceType}


def service(one: Document) -> service_types.Service:
    """A Service; unset fields are empty and listed in `allocated`.

    It has the IPv4 addresses and ranges only: the kube-proxies of a lab are those of IPv4.
    """
    spec, asked = one.spec, service_document.cluster_ip(one.spec)
    ranges = spec.get("loadBalancerSourceRanges", ())
    ingress = one.value.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    timeout = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds") or AFFINITY_SECONDS
    local = TrafficPolicy.LOCAL, TrafficPolicy.CLUSTER
    return service_types.Service(
        name=one.name,
        ports=tuple(map(_service_port, spec.get("ports", ()))),
        namespace=one.namespace,
        labels=tuple(one.labels.items()),
        annotations=tuple(one.metadata.get("annotations", {}).items()),
        type=_TYPES[spec["type"]],
        cluster_ip=valid_address(asked) if asked and asked != "None" else None,
        selector=tuple(spec.get("selector", {}).items()),
        external_ips=tuple(IPv4Address(ip) for ip in spec.get("externalIPs", ()) if ":" not in ip),
        load_balancer_ips=tuple(IPv4Address(end["ip"]) for end in ingress if service_document.is_vip(end)),
        source_ranges=tuple(IPv4Network(each.strip(), strict=False) for each in ranges if ":" not in each),
        affinity=timeout if spec["sessionAffinity"] == "ClientIP" else 0,
        external_policy=local[spec.get("externalTrafficPolicy") != "Local"],
        internal_policy=local[spec.get("internalTrafficPolicy") != "Local"],
        health_check_node_port=spec.get("healthCheckNodePort", 0) if service_document.needs_health_check(spec) else 0,
        external_name=spec.get("externalName", ""),
        publish_not_ready=spec.get("publishNotReadyAddresses", False),
        traffic=spec.get("trafficDistribution", ""),
        other_proxy=service_document.for_other_proxy(one.labels),
        allocated=unset_fields(spec, ingress),
        document=one.value,
    )


def _service_port(fields: dict[str, Any]) -> service_types.ServicePort:
    port: int = fields["port"]
    target = fields.get("targetPort") or port
    return service_types.ServicePort(
        port, target, fields.get("name", ""), pod_types.PROTOCOLS[fields["protocol"]], fields.get("nodePort", 0)
    )


def endpoint_slice(one: Document) -> service_types.EndpointSlice:
    """An EndpointSlice."""
    value, namespace = one.value, one.namespace
    return service_types.EndpointSlice(
        name=one.name,
        service=one.labels.get("kubernetes.io/service-name", ""),
        namespace=namespace,
        endpoints=tuple(_endpoint(end, namespace) for end in value.get("endpoints", ()))
        if value.get("addressType", "IPv4") == "IPv4"
        else (),
        ports=tuple(
            (p.get("name", ""), p["port"], pod_types.PROTOCOLS[p["protocol"]])
            for p in value.get("ports", ())
            if "port" in p
        ),
        other_proxy=service_document.for_other_proxy(one.labels),
        document=value,
    )


def _endpoint(fields: dict[str, Any], namespace: str) -> service_types.SliceEndpoint:
    """An endpoint. Missing conditions mean ready and serving, independently of each other (as in kube-proxy)."""
    conditions, target, hints = fields.get("conditions", {}), fields.get("targetRef", {}), fields.get("hints")
    named = target.get("kind") == "Pod" and target.get("name")
    return service_types.SliceEndpoint(
        valid_address(fields["addresses"][0]),
        conditions.get("ready", True),
        conditions.get("serving", True),
        conditions.get("terminating", False),
        fields.get("nodeName", ""),
        fields.get("hostname", ""),
        _hinted(hints, "forZones") if hints else (),
        f"{target.get('namespace') or namespace}/{named}" if named else "",
        _hinted(hints, "forNodes") if hints else (),
    )


def _hinted(hints: dict[str, Any], whom: str) -> tuple[str, ...]:
    return tuple(one.get("name", "") for one in hints.get(whom, ()))
