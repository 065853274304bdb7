"""What of an object stands in a cell of a table, as `kubectl get` prints it: of any object, and of Services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from nslab.api.duration import since
from nslab.api.selectors import requirements

Object: TypeAlias = dict[str, Any]
Cell: TypeAlias = Callable[[Object, float], str]
"""An object's cell at a time, in seconds since the epoch."""
NONE = "<none>"


def labels(found: dict[str, str] | None) -> str:
    """Labels, or a selector, in one word."""
    return ",".join(f"{name}={value}" for name, value in sorted((found or {}).items())) or NONE


def at(*path: str) -> Cell:
    """The value at a path, or nothing."""

    def cell(one: Object, _: float) -> str:
        value: Any = one
        for step in path:
            value = (value or {}).get(step)
        return NONE if value in (None, "") else str(value)

    return cell


def number(*path: str) -> Cell:
    """The number at a path; 0 if there is none."""

    def cell(one: Object, now: float) -> str:
        found = at(*path)(one, now)
        return "0" if found == NONE else found

    return cell


def selector(found: Object | None) -> str:
    """A LabelSelector in one word."""
    return ",".join(map(str, requirements(found or {}))) or NONE


def seen(field: str) -> Cell:
    """How long ago the time of a field was."""
    return lambda one, now: since(one.get(field), now)


# Services and their endpoints


def external(one: Object, _: float) -> str:
    """A Service's addresses outside the cluster."""
    spec, kind = one["spec"], one["spec"].get("type", "ClusterIP")
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    given = list(spec.get("externalIPs", ()))
    if kind == "LoadBalancer":
        ingress = one.get("status", {}).get("loadBalancer", {}).get("ingress", ())
        return ",".join([*(each.get("ip") or each.get("hostname", "") for each in ingress), *given]) or "<pending>"
    return ",".join(given) or NONE


def cluster_ip(one: Object, _: float) -> str:
    """A Service's ClusterIP."""
    return str(one["spec"].get("clusterIP") or NONE)


def ports(one: Object, _: float) -> str:
    """A Service's ports, each with its node port."""

    def port(each: Object) -> str:
        node = f":{each['nodePort']}" if each.get("nodePort") else ""
        return f"{each.get('port')}{node}/{each.get('protocol', 'TCP')}"

    return ",".join(map(port, one["spec"].get("ports", ()))) or NONE


def several(found: list[str], most: int = 3) -> str:
    """A few texts, and how many more there are."""
    if len(found) > most:
        return f"{','.join(found[:most])} + {len(found) - most} more..."
    return ",".join(found) or NONE


def slice_ports(one: Object, _: float) -> str:
    """An EndpointSlice's ports."""
    found = [str(each.get("port", "")) for each in one.get("ports") or ()]
    return several(found) if found else "<unset>"


def slice_endpoints(one: Object, _: float) -> str:
    """An EndpointSlice's addresses."""
    found = [address for end in one.get("endpoints") or () for address in end.get("addresses", ())]
    return several(found) if found else "<unset>"


def endpoints(one: Object, _: float) -> str:
    """An Endpoints object's addresses, each with each port."""
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in one.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return several(found)
