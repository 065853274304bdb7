"""Services with what stands behind them, read from a manifest in the plainest way: nothing of nslab's own reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from nslab.proxy.model import Endpoint, Port, Service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def services(manifest: Path) -> list[Service]:
    """The Services of a manifest in its order, with the endpoints of its EndpointSlices."""
    objects = list(yaml.safe_load_all(manifest.read_text()))
    slices = [one for one in objects if one["kind"] == "EndpointSlice"]
    found = [_service(one, slices) for one in objects if one["kind"] == "Service"]
    assert found
    return found


def _service(said: dict[str, Any], slices: Iterable[dict[str, Any]]) -> Service:
    meta, spec = said["metadata"], said["spec"]
    mine = [
        one
        for one in slices
        if one["metadata"]["namespace"] == meta["namespace"]
        and one["metadata"]["labels"]["kubernetes.io/service-name"] == meta["name"]
    ]
    affinity = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds", 10800)
    ingress = said.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return Service(
        namespace=meta["namespace"],
        name=meta["name"],
        cluster_ip=spec.get("clusterIP", "").replace("None", ""),
        ports=tuple(_port(port, mine) for port in spec["ports"]),
        type=spec.get("type", "ClusterIP"),
        external_ips=tuple(spec.get("externalIPs", ())),
        load_balancer_ips=tuple(one["ip"] for one in ingress),
        source_ranges=tuple(spec.get("loadBalancerSourceRanges", ())),
        affinity=affinity if spec.get("sessionAffinity") == "ClientIP" else 0,
        external_local=spec.get("externalTrafficPolicy") == "Local",
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        health_check_node_port=spec.get("healthCheckNodePort", 0),
    )


def _port(port: dict[str, Any], slices: Iterable[dict[str, Any]]) -> Port:
    name, protocol = port.get("name", ""), port.get("protocol", "TCP")
    ends = [
        Endpoint(address, number["port"], end.get("nodeName", ""), ready=end.get("conditions", {}).get("ready", True))
        for one in slices
        for number in one.get("ports") or ()
        if (number.get("name") or "") == name and number.get("protocol", "TCP") == protocol
        for end in one["endpoints"]
        for address in end["addresses"]
    ]
    return Port(name, port["port"], protocol, port.get("nodePort", 0), tuple(ends))
