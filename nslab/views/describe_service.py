"""A Service in detail, with its endpoints: the lines of `kubectl describe service`, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.cells import NONE, labels
from nslab.api.words import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Object = dict[str, Any]


def service_pairs(one: Object, there: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Its lines, as name and value. `there`: every object of the lab, among which are its EndpointSlices."""
    spec = one["spec"]
    yield "Selector", labels(spec.get("selector"))
    yield "Type", spec.get("type", "ClusterIP")
    yield from _addresses(one, spec)
    for port in spec.get("ports", ()):
        name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
        yield "Port", printable(f"{name}  {port.get('port')}/{protocol}")
        yield "TargetPort", printable(f"{port.get('targetPort') or port.get('port')}/{protocol}")
        if port.get("nodePort"):
            yield "NodePort", printable(f"{name}  {port['nodePort']}/{protocol}")
        yield "Endpoints", _endpoints_of(one, port, there)
    yield "Session Affinity", spec.get("sessionAffinity", "None")
    fields = {
        "External Traffic Policy": spec.get("externalTrafficPolicy"),
        "Internal Traffic Policy": spec.get("internalTrafficPolicy"),
        "HealthCheck NodePort": spec.get("healthCheckNodePort"),
        "LoadBalancer Source Ranges": ",".join(spec.get("loadBalancerSourceRanges", ())),
    }
    yield from _present(fields)


def _addresses(one: Object, spec: Object) -> Iterator[tuple[str, str]]:
    yield from _present({"IP Family Policy": spec.get("ipFamilyPolicy")})
    yield "IP Families", ",".join(spec.get("ipFamilies", ())) or NONE
    yield "IP", str(spec.get("clusterIP") or "")
    yield "IPs", ",".join(spec.get("clusterIPs", ())) or NONE
    ingress = one.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    fields = {
        "External IPs": ",".join(spec.get("externalIPs", ())),
        "Desired LoadBalancer IP": spec.get("loadBalancerIP"),
        "External Name": spec.get("externalName"),
        "LoadBalancer Ingress": ", ".join(str(each.get("ip") or each.get("hostname")) for each in ingress),
    }
    yield from _present(fields)


def _present(fields: Object) -> Iterator[tuple[str, str]]:
    yield from ((name, printable(str(value))) for name, value in fields.items() if value)


def _endpoints_of(service: Object, port: Object, there: Sequence[Object]) -> str:
    """The ready endpoints of one port, of all its slices."""
    namespace, name = (service["metadata"].get(field) for field in ("namespace", "name"))
    found = []
    for one in there:
        metadata = one["metadata"]
        of = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if one["kind"] == "EndpointSlice" and (metadata.get("namespace"), of) == (namespace, name):
            numbers = [each["port"] for each in one.get("ports", ()) if each.get("name", "") == port.get("name", "")]
            ready = [end for end in one.get("endpoints", ()) if (end.get("conditions") or {}).get("ready", True)]
            found += [f"{address}:{number}" for end in ready for address in end["addresses"] for number in numbers]
    return ",".join(found)
