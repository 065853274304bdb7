"""Checks of one Service, with the API server's messages (Kubernetes: pkg/apis/core/validation)."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from nslab.api import service_document
from nslab.api.addresses import address_fault
from nslab.api.pod_types import Protocol
from nslab.api.sentences import (
    ADDRESS,
    CIDR,
    LABEL,
    PORT_NUMBER,
    SERVICE_NAME,
    SUBDOMAIN,
    duplicate,
    forbidden,
    invalid,
    port_name_faults,
    required,
    unsupported,
)
from nslab.api.service_types import ServiceType, TrafficPolicy
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.errors import FieldPath

    Spec = dict[str, Any]

LONGEST_AFFINITY = 86400
PROTOCOLS, TYPES, POLICIES = frozenset(Protocol), frozenset(ServiceType), frozenset(TrafficPolicy)
LABEL_FORM = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE_NAME_FORM = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN_FORM = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PREFIX = re.compile("[0-9]|[12][0-9]|3[0-2]")
_PREFIX_6 = re.compile("[0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]")
_SPECIAL = (
    ("0.0.0.0/32", "::/128", "may not be unspecified (0.0.0.0 or ::)"),
    ("127.0.0.0/8", "::1/128", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("169.254.0.0/16", "fe80::/10", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
    ("224.0.0.0/24", "ff02::/16", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
)
SPECIAL = tuple((IPv4Network(net), why) for net, _, why in _SPECIAL)
SPECIAL_6 = tuple((IPv6Network(net), why) for _, net, why in _SPECIAL)
TRAFFIC = frozenset(("PreferClose", "PreferSameNode", "PreferSameZone"))
MODES = frozenset(("Proxy", "VIP"))
"""What a load balancer's address can be to a kube-proxy (ipMode)."""


def errors(service: Document) -> Iterator[FieldError]:
    """Errors that make a Service invalid for the API server and for kube-proxy."""
    spec, kind, headless = service.spec, service.spec["type"], service_document.headless(service.spec)
    yield from name_errors(service.name, SERVICE_NAME_FORM, SERVICE_NAME, 63)
    if kind not in TYPES:
        yield FieldError(("spec", "type"), unsupported(kind, TYPES))
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield FieldError(("spec", "ports"), required())
    yield from _ports(spec)
    if kind != "ExternalName":
        yield from _cluster_ips(spec)
        yield from _families(spec)
    yield from _addresses(service)
    yield from _affinity(spec)
    if kind == "ExternalName":
        yield from _external_name(spec)
    elif headless and kind in ("NodePort", "LoadBalancer"):
        text = invalid("None", f"may not be set to 'None' for {kind} services")
        yield FieldError(("spec", "clusterIPs", 0), text, at=("spec", "clusterIP"))
    policy = spec.get("externalTrafficPolicy")
    if policy and service_document.external(spec) and policy not in POLICIES:
        yield FieldError(("spec", "externalTrafficPolicy"), unsupported(policy, POLICIES))
    if (wanted := spec.get("trafficDistribution")) and wanted not in TRAFFIC:
        yield FieldError(("spec", "trafficDistribution"), unsupported(wanted, TRAFFIC))
    if (wanted := spec.get("internalTrafficPolicy")) and wanted not in POLICIES:
        yield FieldError(("spec", "internalTrafficPolicy"), unsupported(wanted, POLICIES))


def admission(spec: Spec) -> Iterator[FieldError]:
    """Errors that the API server refuses; kube-proxy, which only reads, ignores them."""
    balanced = spec["type"] == "LoadBalancer"
    for index, port in enumerate(spec.get("ports", ())):
        if port.get("nodePort") and spec["type"] == "ClusterIP":
            text = forbidden("may not be used when `type` is 'ClusterIP'")
            yield FieldError(("spec", "ports", index, "nodePort"), text)
    only = forbidden("may only be used when `type` is 'LoadBalancer'")
    if spec.get("loadBalancerSourceRanges") and not balanced:
        yield FieldError(("spec", "LoadBalancerSourceRanges"), only, at=("spec", "loadBalancerSourceRanges"))
    if "allocateLoadBalancerNodePorts" in spec and not balanced:
        yield FieldError(("spec", "allocateLoadBalancerNodePorts"), only)
    if (policy := spec.get("externalTrafficPolicy")) and not service_document.external(spec):
        text = invalid(policy, "may only be set for externally-accessible services")
        yield FieldError(("spec", "externalTrafficPolicy"), text)
    number = spec.get("healthCheckNodePort", 0)
    if number and not service_document.needs_health_check(spec):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield FieldError(("spec", "healthCheckNodePort"), invalid(number, why))
    elif not 0 <= number <= 65535:
        yield FieldError(("spec", "healthCheckNodePort"), invalid(number, PORT_NUMBER))


def name_errors(name: str, form: re.Pattern[str], words: str, longest: int) -> Iterator[FieldError]:
    """Errors in an object's name; the schema reports a missing one."""
    if name and not form.fullmatch(name):
        yield FieldError(("metadata", "name"), invalid(name, words))
    if len(name) > longest:
        yield FieldError(("metadata", "name"), invalid(name, f"must be no more than {longest} characters"))


def _ports(spec: Spec) -> Iterator[FieldError]:
    """Each port has a unique name, and a number that is unique per protocol."""
    names: set[str] = set()
    seen: set[tuple[int, str]] = set()
    node_ports: set[tuple[int, str]] = set()
    ports = spec.get("ports", ())
    for index, port in enumerate(ports):
        path: FieldPath = ("spec", "ports", index)
        name, number, protocol, node_port = (
            port.get("name", ""),
            port.get("port", 0),
            port["protocol"],
            port.get("nodePort"),
        )
        if not name and len(ports) > 1:
            yield FieldError((*path, "name"), required())
        yield from port_name(name, path)
        if name and name in names:
            yield FieldError((*path, "name"), duplicate(name))
        names.add(name)
        yield from number_and_protocol(number, protocol, path)
        yield from _target(port.get("targetPort"), path)
        if node_port and (node_port, protocol) in node_ports:
            yield FieldError((*path, "nodePort"), duplicate(node_port))
        node_ports.add((node_port, protocol))
        if (number, protocol) in seen:
            yield FieldError(path, duplicate(_printed(number, protocol)))
        seen.add((number, protocol))


def _printed(number: int, protocol: str) -> dict[str, object]:
    """A port as the API server (in Go) prints a duplicate: with only the fields that it compares."""
    equal = {"Name": "", "Protocol": protocol, "AppProtocol": None, "Port": number}
    return {**equal, "TargetPort": 0, "NodePort": 0}


def number_and_protocol(number: int, protocol: str, path: FieldPath) -> Iterator[FieldError]:
    """The checks that a Service's port and an EndpointSlice's share, except for the name."""
    if not 1 <= number <= 65535:
        yield FieldError((*path, "port"), invalid(number, PORT_NUMBER))
    if protocol not in PROTOCOLS:
        yield FieldError((*path, "protocol"), unsupported(protocol, PROTOCOLS))


def port_name(name: str, path: FieldPath) -> Iterator[FieldError]:
    """A port's name is a DNS label."""
    if name and (len(name) > 63 or not LABEL_FORM.fullmatch(name)):
        why = "must be no more than 63 characters" if len(name) > 63 else LABEL
        yield FieldError((*path, "name"), invalid(name, why))


def _target(target: int | str | None, path: FieldPath) -> Iterator[FieldError]:
    """A target is a port number, or a valid name of a container's port."""
    if isinstance(target, str) and target:
        yield from (FieldError((*path, "targetPort"), invalid(target, why)) for why in port_name_faults(target))
    elif target and not 1 <= target <= 65535:
        # 0 counts as unset: the API server then uses the port itself.
        yield FieldError((*path, "targetPort"), invalid(target, PORT_NUMBER))


def address(word: str, path: FieldPath, at: FieldPath = ()) -> Iterator[FieldError]:
    """The field contains an IPv4 address."""
    if address_fault(word):
        yield FieldError(path, invalid(word, "nslab's networks are IPv4 only" if is_ipv6(word) else ADDRESS), at=at)


def is_ipv6(word: str) -> bool:
    """Whether it is an address that the IPv6 kube-proxy reads, and the IPv4 one does not."""
    try:
        return ":" in word and bool(IPv6Address(word))
    except AddressValueError:
        return False


def _cluster_ips(spec: Spec) -> Iterator[FieldError]:
    """clusterIP and clusterIPs agree and are valid."""
    given, first, asked = spec.get("clusterIPs", ()), spec.get("clusterIP", ""), service_document.cluster_ip(spec)
    if given and not first:
        text = invalid([*given], "must be empty when `clusterIP` is not specified")
        yield FieldError(("spec", "clusterIPs"), text)
    elif given and given[0] != first:
        yield FieldError(("spec", "clusterIPs"), invalid([*given], "first value must match `clusterIP`"))
    if len(given) > 1 and "None" in given:
        yield FieldError(("spec", "clusterIPs"), invalid([*given], "'None' must be the first and only value"))
    elif asked and asked != "None":
        yield from address(asked, ("spec", "clusterIPs", 0), ("spec", "clusterIP"))
    for index, word in enumerate(given[1:], 1):
        yield from address(word, ("spec", "clusterIPs", index))


def _families(spec: Spec) -> Iterator[FieldError]:
    """The IP families are IPv4 only, as nslab's clusters are."""
    policy = spec.get("ipFamilyPolicy", "")
    if policy == "RequireDualStack":
        why = "this cluster is not configured for dual-stack services"
        yield FieldError(("spec", "ipFamilyPolicy"), invalid(policy, why))
    elif policy not in ("", "SingleStack", "PreferDualStack"):
        known = ("SingleStack", "PreferDualStack", "RequireDualStack")
        yield FieldError(("spec", "ipFamilyPolicy"), unsupported(policy, known))
    for index, family in enumerate(spec.get("ipFamilies", ())):
        if family == "IPv6":
            yield FieldError(("spec", "ipFamilies", index), invalid(family, "not configured on this cluster"))
        elif family != "IPv4":
            yield FieldError(("spec", "ipFamilies", index), unsupported(family, ("IPv4", "IPv6")))


def _addresses(service: Document) -> Iterator[FieldError]:
    """External, load-balancer and source addresses are valid."""
    spec, status = service.spec, service.value.get("status", {})
    for index, word in enumerate(spec.get("externalIPs", ())):
        yield from outside(word, ("spec", "externalIPs", index))
    for index, one in enumerate(status.get("loadBalancer", {}).get("ingress", ())):
        path: FieldPath = ("status", "loadBalancer", "ingress", index)
        if one.get("ip") and not is_ipv6(one["ip"]):
            yield from address(one["ip"], (*path, "ip"))
        mode = one.get("ipMode", "VIP")
        if "ipMode" in one and not one.get("ip"):
            yield FieldError((*path, "ipMode"), forbidden("may not be specified when `ip` is not set"))
        elif mode not in MODES:
            yield FieldError((*path, "ipMode"), unsupported(mode, MODES))
    for index, word in enumerate(spec.get("loadBalancerSourceRanges", ())):
        if not is_network(word.strip()):
            at: FieldPath = ("spec", "loadBalancerSourceRanges", index)
            yield FieldError(("spec", "LoadBalancerSourceRanges", index), invalid(word, CIDR), at=at)


def is_network(word: str) -> bool:
    """Whether it is an address of either family with a prefix length."""
    ip, _, length = word.partition("/")
    if is_ipv6(ip):
        return bool(_PREFIX_6.fullmatch(length))
    return not address_fault(ip) and bool(_PREFIX.fullmatch(length))


def outside(word: str, path: FieldPath) -> Iterator[FieldError]:
    """An address of another machine is valid, and not in a range that never leaves a machine or a link."""
    if is_ipv6(word):
        yield from (FieldError(path, invalid(word, why)) for net, why in SPECIAL_6 if IPv6Address(word) in net)
        return
    found = list(address(word, path))
    yield from found
    # Special addresses begin with these numbers; comparing networks is slow for ten thousand endpoints.
    if not found and word.startswith(("0.", "127.", "169.", "224.")):
        yield from (FieldError(path, invalid(word, why)) for net, why in SPECIAL if IPv4Network(word).subnet_of(net))


def _affinity(spec: Spec) -> Iterator[FieldError]:
    """The session affinity is valid; its time-out is one second to one day."""
    affinity, timeout = (
        spec["sessionAffinity"],
        spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds"),
    )
    if affinity not in ("None", "ClientIP"):
        yield FieldError(("spec", "sessionAffinity"), unsupported(affinity, ("ClientIP", "None")))
    elif timeout is not None and affinity == "None":
        text = forbidden("must not be set when session affinity is None")
        yield FieldError(("spec", "sessionAffinityConfig"), text)
    elif timeout is not None and not 0 < timeout <= LONGEST_AFFINITY:
        text = invalid(timeout, f"must be greater than 0 and less than {LONGEST_AFFINITY}")
        yield FieldError(("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"), text)


def _external_name(spec: Spec) -> Iterator[FieldError]:
    """An ExternalName has a valid name, and no address."""
    for name, value in (
        ("clusterIPs", service_document.cluster_ip(spec)),
        ("ipFamilies", spec.get("ipFamilies")),
        ("ipFamilyPolicy", spec.get("ipFamilyPolicy")),
    ):
        if value:
            at: FieldPath = ("spec", "clusterIP") if name == "clusterIPs" and spec.get("clusterIP") else ()
            yield FieldError(("spec", name), forbidden("may not be set for ExternalName services"), at=at)
    host = spec.get("externalName", "").removesuffix(".")
    if not host:
        yield FieldError(("spec", "externalName"), required())
    elif len(host) > 253:
        yield FieldError(("spec", "externalName"), invalid(host, "must be no more than 253 characters"))
    elif not SUBDOMAIN_FORM.fullmatch(host):
        yield FieldError(("spec", "externalName"), invalid(host, SUBDOMAIN))
