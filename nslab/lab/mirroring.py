"""EndpointSlices for Endpoints that a user wrote, as the EndpointSliceMirroring controller makes them.

kube-proxy reads EndpointSlices only. The controller mirrors the Endpoints of a Service that has no selector. Those of a
Service with a selector are the endpoints controller's own, whatever a file says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nslab.api.document import Document
from nslab.api.suffix import generated
from nslab.lab.replica_sets import owner_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.stream import Documents

MANAGED_BY, CONTROLLER = "endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
"""The annotation of Endpoints that are a lock of leader election."""
NOT_COPIED = ("endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration")
MOST = 1000
"""The maximum number of a subset's addresses that are mirrored."""

Ports = list[dict[str, Any]]


def mirror(found: Documents) -> None:
    """Give Services their slices of Endpoints, in place of those that were mirrored before."""
    if not any(map(is_endpoints, found.others)):
        return
    selecting = {(one.namespace, one.name): bool(one.spec.get("selector")) for one in found.services}
    found.others = [one for one in found.others if not (is_endpoints(one) and selecting.get((one.namespace, one.name)))]
    written = [one for one in found.others if is_endpoints(one)]
    names = {(one.namespace, one.name) for one in written}
    found.slices = [one for one in found.slices if mirrored_of(one) not in names]
    for one in written:
        for port in (port for subset in one.value.get("subsets", ()) for port in subset.get("ports", ())):
            port["protocol"] = port.get("protocol") or "TCP"
        if (one.namespace, one.name) in selecting and not _skipped(one):
            found.slices += _slices(one)


def is_endpoints(one: Document) -> bool:
    """Whether an object is Kubernetes' Endpoints."""
    return one.kind == "Endpoints" and one.value.get("apiVersion") == "v1"


def mirrored_of(one: Document) -> tuple[str, str] | None:
    """Namespace and name of the Endpoints that an EndpointSlice mirrors; None if it mirrors none."""
    return (one.namespace, one.labels.get(SERVICE_NAME, "")) if one.labels.get(MANAGED_BY) == CONTROLLER else None


def _skipped(endpoints: Document) -> bool:
    return endpoints.labels.get(SKIP) == "true" or LEADER in endpoints.metadata.get("annotations", {})


def _slices(endpoints: Document) -> Iterator[Document]:
    """A slice for each set of ports and each family of addresses. Of one address the last entry counts."""
    ends: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for subset in endpoints.value.get("subsets", ()):
        ports = json.dumps(subset.get("ports", []), sort_keys=True)
        for address, ready in _addresses(subset):
            family = "IPv6" if ":" in address.get("ip", "") else "IPv4"
            end = _endpoint(address, ready=ready)
            ends.setdefault((family, ports), {})[json.dumps({**end, "conditions": {}}, sort_keys=True)] = end
    for (family, ports), by_address in ends.items():
        value = _slice(endpoints, family, json.loads(ports), [*by_address.values()])
        yield Document(value, endpoints.path, made=True)


def _addresses(subset: dict[str, Any]) -> list[tuple[dict[str, Any], bool]]:
    """The addresses that are mirrored, and whether they are ready."""
    ready = ((one, True) for one in subset.get("addresses", ()))
    return [*ready, *((one, False) for one in subset.get("notReadyAddresses", ()))][:MOST]


def _endpoint(address: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    copied = {name: address[name] for name in ("hostname", "nodeName", "targetRef") if address.get(name)}
    return {"addresses": [address.get("ip", "")], "conditions": {"ready": ready}, **copied}


def _slice(endpoints: Document, family: str, ports: Ports, ends: list[dict[str, Any]]) -> dict[str, Any]:
    name, annotations = endpoints.name, endpoints.metadata.get("annotations", {})
    base = f"{name}-"
    seed = f"EndpointSlice/{endpoints.namespace}/{name}/{family}/{json.dumps(ports, sort_keys=True)}"
    metadata: dict[str, Any] = {
        "generateName": base,
        "name": generated(base, seed),
        "namespace": endpoints.namespace,
        "labels": {**endpoints.labels, SERVICE_NAME: name, MANAGED_BY: CONTROLLER},
        "ownerReferences": [owner_reference(endpoints.value)],
    }
    if copied := {key: value for key, value in annotations.items() if key not in NOT_COPIED}:
        metadata["annotations"] = copied
    head = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    return {**head, "addressType": family, "endpoints": ends, "ports": ports}
