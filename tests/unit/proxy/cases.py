"""The Services that real kube-proxies were given, and what they wrote: read here, and by nothing of nslab's own.

tests/data/kube-proxy/README.md says how that was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

REAL = Path(__file__).parents[2] / "data" / "kube-proxy"
CASES = sorted(path.stem for path in (REAL / "cases").glob("*.yaml"))

WORKER = Proxy("worker-node1", ("192.168.59.21",), cluster_cidr="20.96.0.0/12")
"""The node of the cases."""
TEST_NODE = Proxy("test-node", ("192.168.0.2",), cluster_cidr="10.0.0.0/8", random_fully=False)
"""The node of the overall test; its iptables was too old for --random-fully."""


def case(name: str) -> list[ServiceInfo]:
    """The Services of a case, in the order of their keys, as kube-proxies go through them now."""
    return sorted(written(name), key=lambda service: service.key)


def written(name: str) -> list[ServiceInfo]:
    """The Services of a case, in the order of the file, in which they were made."""
    return services((REAL / "cases" / f"{name}.yaml").read_text())


def overall() -> list[ServiceInfo]:
    """The Services of upstream's overall test."""
    found = services((REAL / "current" / "overall.yaml").read_text())
    return sorted(found, key=lambda service: service.key)


def services(manifest: str) -> list[ServiceInfo]:
    """Services as kube-proxy knows them, with the endpoints of their EndpointSlices, in the manifest's order."""
    docs = [doc for doc in yaml.safe_load_all(manifest) if doc]
    slices: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for doc in docs:
        if doc["kind"] == "EndpointSlice":
            meta = doc["metadata"]
            slices.setdefault((meta["namespace"], meta["labels"]["kubernetes.io/service-name"]), []).append(doc)
    found = [_service(doc, slices) for doc in docs if doc["kind"] == "Service"]
    assert found
    return found


def _service(doc: dict[str, Any], slices: dict[tuple[str, str], list[dict[str, Any]]]) -> ServiceInfo:
    meta, spec = doc["metadata"], doc["spec"]
    behind = slices.get((meta["namespace"], meta["name"]), [])
    affinity = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds", 10800)
    return ServiceInfo(
        namespace=meta["namespace"],
        name=meta["name"],
        cluster_ip=spec["clusterIP"].replace("None", ""),
        ports=tuple(_port(port, behind) for port in spec["ports"]),
        type=spec.get("type", "ClusterIP"),
        external_ips=tuple(spec.get("externalIPs", ())),
        load_balancer_ips=tuple(one["ip"] for one in doc.get("status", {}).get("loadBalancer", {}).get("ingress", ())),
        source_ranges=tuple(spec.get("loadBalancerSourceRanges", ())),
        affinity=affinity if spec.get("sessionAffinity") == "ClientIP" else 0,
        external_local=spec.get("externalTrafficPolicy") == "Local",
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        health_check_node_port=spec.get("healthCheckNodePort", 0),
    )


def _port(port: dict[str, Any], slices: list[dict[str, Any]]) -> Port:
    protocol, name = port.get("protocol", "TCP"), port.get("name", "")
    ends = [
        Endpoint(address, number["port"], end.get("nodeName", ""), **_conditions(end))
        for one in slices
        for number in one["ports"]
        if (number.get("name", ""), number.get("protocol", "TCP")) == (name, protocol)
        for end in one["endpoints"]
        for address in end["addresses"]
    ]
    ordered = sorted(ends, key=lambda end: f"{end.ip}:{end.port}")
    return Port(name, port["port"], protocol, port.get("nodePort", 0), tuple(ordered))


def _conditions(end: dict[str, Any]) -> dict[str, bool]:
    output = end.get("conditions", {})
    ready = output.get("ready", True)
    return {"ready": ready, "serving": output.get("serving", ready), "terminating": output.get("terminating", False)}


def differences(have: Items, want: Items) -> tuple[Items, Items]:
    """What turns `have` into `want`, as `commands` takes it."""
    return (
        {item: body for item, body in have.items() if want.get(item) != body},
        {item: body for item, body in want.items() if have.get(item) != body},
    )
