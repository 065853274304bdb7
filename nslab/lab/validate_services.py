"""What is wrong with one Service, in the API server's words (Kubernetes: pkg/apis/core/validation)."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from nslab.lab.api import (
    ADDRESS,
    CIDR,
    LABEL,
    PORT_NUMBER,
    SERVICE_NAME,
    SUBDOMAIN,
    Fault,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from nslab.lab.read import address_fault
from nslab.lab.types import Protocol, ServiceType, TrafficPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.draft import ServiceDraft, ServicePortDraft
    from nslab.lab.words import Path

LONGEST_AFFINITY = 86400
PROTOCOLS, TYPES, POLICIES = frozenset(Protocol), frozenset(ServiceType), frozenset(TrafficPolicy)
LABEL_FORM = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE_NAME_FORM = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN_FORM = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PREFIX = re.compile("[0-9]|[12][0-9]|3[0-2]")
SPECIAL = (
    (IPv4Network("0.0.0.0/32"), "may not be unspecified (0.0.0.0 or ::)"),
    (IPv4Network("127.0.0.0/8"), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    (IPv4Network("169.254.0.0/16"), "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
    (IPv4Network("224.0.0.0/24"), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
)


def faults(service: ServiceDraft) -> Iterator[Fault]:
    """What is wrong with a Service, wherever it is meant for."""
    yield from name_faults(service.name, SERVICE_NAME_FORM, SERVICE_NAME, 63)
    if service.type not in TYPES:
        yield Fault(("spec", "type"), unsupported(service.type, TYPES))
    if not service.ports and not service.headless and service.type != "ExternalName":
        yield Fault(("spec", "ports"), required())
    yield from _ports(service)
    yield from _addresses(service)
    yield from _affinity(service)
    if service.type == "ExternalName":
        yield from _external_name(service)
    elif service.headless and service.type in ("NodePort", "LoadBalancer"):
        text = invalid("None", f"may not be set to 'None' for {service.type} services")
        yield Fault(("spec", "clusterIPs", 0), text, ("spec", "clusterIP"))
    policy = service.external_policy
    if policy and service.external and policy not in POLICIES:
        yield Fault(("spec", "externalTrafficPolicy"), unsupported(policy, POLICIES))
    if service.internal_policy not in POLICIES:
        yield Fault(("spec", "internalTrafficPolicy"), unsupported(service.internal_policy, POLICIES))


def admission(service: ServiceDraft) -> Iterator[Fault]:
    """What the API server refuses and a kube-proxy, which only reads, would not mind."""
    for index, port in enumerate(service.ports):
        if port.node_port and service.type == "ClusterIP":
            text = forbidden("may not be used when `type` is 'ClusterIP'")
            yield Fault(("spec", "ports", index, "nodePort"), text)
    if service.source_ranges and service.type != "LoadBalancer":
        text = forbidden("may only be used when `type` is 'LoadBalancer'")
        yield Fault(("spec", "LoadBalancerSourceRanges"), text, ("spec", "loadBalancerSourceRanges"))
    if service.allocate is not None and service.type != "LoadBalancer":
        text = forbidden("may only be used when `type` is 'LoadBalancer'")
        yield Fault(("spec", "allocateLoadBalancerNodePorts"), text)
    if service.external_policy and not service.external:
        text = invalid(service.external_policy, "may only be set for externally-accessible services")
        yield Fault(("spec", "externalTrafficPolicy"), text)
    number = service.health_check_node_port
    if number and not service.needs_health_check:
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield Fault(("spec", "healthCheckNodePort"), invalid(number, why))
    elif not 0 <= number <= 65535:
        yield Fault(("spec", "healthCheckNodePort"), invalid(number, PORT_NUMBER))


def name_faults(name: str, form: re.Pattern[str], words: str, longest: int) -> Iterator[Fault]:
    """What is wrong with an object's name; that it is missing was said."""
    if name and not form.fullmatch(name):
        yield Fault(("metadata", "name"), invalid(name, words))
    if len(name) > longest:
        yield Fault(("metadata", "name"), invalid(name, f"must be no more than {longest} characters"))


def _ports(service: ServiceDraft) -> Iterator[Fault]:
    """Each port has a number and a name of its own; a number may be used once for each protocol."""
    names: set[str] = set()
    seen: set[tuple[int, str]] = set()
    node_ports: set[tuple[int, str]] = set()
    for index, port in enumerate(service.ports):
        path: Path = ("spec", "ports", index)
        if not port.name and len(service.ports) > 1:
            yield Fault((*path, "name"), required())
        yield from port_name(port.name, path)
        if port.name and port.name in names:
            yield Fault((*path, "name"), duplicate(port.name))
        names.add(port.name)
        yield from number_and_protocol(port.port, port.protocol, path)
        yield from _target(port, path)
        if port.node_port and (port.node_port, port.protocol) in node_ports:
            yield Fault((*path, "nodePort"), duplicate(port.node_port))
        node_ports.add((port.node_port, port.protocol))
        if (port.port, port.protocol) in seen:
            yield Fault(path, duplicate(_printed(port)))
        seen.add((port.port, port.protocol))


def _printed(port: ServicePortDraft) -> dict[str, object]:
    """A port as the API server's Go prints it: of the two that it compares, only what makes them equal."""
    equal = {"Name": "", "Protocol": port.protocol, "AppProtocol": None, "Port": port.port}
    return {**equal, "TargetPort": 0, "NodePort": 0}


def number_and_protocol(number: int, protocol: str, path: Path) -> Iterator[Fault]:
    """What a Service's port and an EndpointSlice's have in common, but for the name."""
    if not 1 <= number <= 65535:
        yield Fault((*path, "port"), invalid(number, PORT_NUMBER))
    if protocol not in PROTOCOLS:
        yield Fault((*path, "protocol"), unsupported(protocol, PROTOCOLS))


def port_name(name: str, path: Path) -> Iterator[Fault]:
    """A port's name is a DNS label."""
    if name and (len(name) > 63 or not LABEL_FORM.fullmatch(name)):
        why = "must be no more than 63 characters" if len(name) > 63 else LABEL
        yield Fault((*path, "name"), invalid(name, why))


def _target(port: ServicePortDraft, path: Path) -> Iterator[Fault]:
    """A target is a port's number, or a name that a container's port can have."""
    target = port.target
    if isinstance(target, str):
        checks = (
            (len(target) <= 15, "must be no more than 15 characters"),
            (
                re.fullmatch("[-a-z0-9]*", target),
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            ),
            (re.search("[a-z]", target), "must contain at least one letter (a-z)"),
            ("--" not in target, "must not contain consecutive hyphens"),
            (not target or "-" not in (target[0], target[-1]), "must not begin or end with a hyphen"),
        )
        for good, why in checks:
            if not good:
                yield Fault((*path, "targetPort"), invalid(target, why))
    elif target and not 1 <= target <= 65535:
        # 0 is as good as nothing: the API server puts the port itself there.
        yield Fault((*path, "targetPort"), invalid(target, PORT_NUMBER))


def address(word: str, path: Path, at: Path = ()) -> Iterator[Fault]:
    """A field that holds an IPv4 address."""
    if fault := address_fault(word):
        v6 = "nslab's networks are IPv4 only" in fault
        yield Fault(path, invalid(word, "nslab's networks are IPv4 only" if v6 else ADDRESS), at)


def _addresses(service: ServiceDraft) -> Iterator[Fault]:
    """The addresses that a Service has, of all kinds."""
    if service.type != "ExternalName":
        given = service.cluster_ips
        if given and not service.cluster_ip:
            text = invalid([*given], "must be empty when `clusterIP` is not specified")
            yield Fault(("spec", "clusterIPs"), text)
        elif given and given[0] != service.cluster_ip:
            yield Fault(("spec", "clusterIPs"), invalid([*given], "first value must match `clusterIP`"))
        if len(given) > 1 and "None" in given:
            yield Fault(("spec", "clusterIPs"), invalid([*given], "'None' must be the first and only value"))
        elif len(given) > 1:
            why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"
            yield Fault(("spec", "ipFamilyPolicy"), invalid("SingleStack", why), ("spec", "clusterIPs"))
        elif service.asked and service.asked != "None":
            yield from address(service.asked, ("spec", "clusterIPs", 0), ("spec", "clusterIP"))
        if service.ip_family_policy == "RequireDualStack":
            why = "this cluster is not configured for dual-stack services"
            yield Fault(("spec", "ipFamilyPolicy"), invalid(service.ip_family_policy, why))
        elif service.ip_family_policy not in ("", "SingleStack", "PreferDualStack"):
            known = ("SingleStack", "PreferDualStack", "RequireDualStack")
            yield Fault(("spec", "ipFamilyPolicy"), unsupported(service.ip_family_policy, known))
        for index, family in enumerate(service.ip_families):
            if family == "IPv6":
                yield Fault(("spec", "ipFamilies", index), invalid(family, "not configured on this cluster"))
            elif family != "IPv4":
                yield Fault(("spec", "ipFamilies", index), unsupported(family, ("IPv4", "IPv6")))
    for index, word in enumerate(service.external_ips):
        yield from outside(word, ("spec", "externalIPs", index))
    for index, word in enumerate(service.ingress):
        yield from address(word, ("status", "loadBalancer", "ingress", index, "ip"))
    for index, word in enumerate(service.source_ranges):
        ip, _, length = word.strip().partition("/")
        if address_fault(ip) or not _PREFIX.fullmatch(length):
            at: Path = ("spec", "loadBalancerSourceRanges", index)
            yield Fault(("spec", "LoadBalancerSourceRanges", index), invalid(word, CIDR), at)


def outside(word: str, path: Path) -> Iterator[Fault]:
    """An address that somebody else has: it is not one of those that never leave a machine or a link."""
    found = list(address(word, path))
    yield from found
    # Only these first numbers can be special; a network's look-up for each of ten thousand endpoints costs.
    if not found and word.startswith(("0.", "127.", "169.", "224.")):
        yield from (Fault(path, invalid(word, why)) for net, why in SPECIAL if IPv4Network(word).subnet_of(net))


def _affinity(service: ServiceDraft) -> Iterator[Fault]:
    """A client stays with a pod for a second to a day."""
    if service.affinity not in ("None", "ClientIP"):
        yield Fault(("spec", "sessionAffinity"), unsupported(service.affinity, ("ClientIP", "None")))
    elif service.timeout is not None and service.affinity == "None":
        text = forbidden("must not be set when session affinity is None")
        yield Fault(("spec", "sessionAffinityConfig"), text)
    elif service.timeout is not None and not 0 < service.timeout <= LONGEST_AFFINITY:
        text = invalid(service.timeout, f"must be greater than 0 and less than {LONGEST_AFFINITY}")
        yield Fault(("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"), text)


def _external_name(service: ServiceDraft) -> Iterator[Fault]:
    """An ExternalName is a name and nothing else."""
    for name, there in (
        ("clusterIPs", service.asked),
        ("ipFamilies", service.ip_families),
        ("ipFamilyPolicy", service.ip_family_policy),
    ):
        if there:
            at: Path = ("spec", "clusterIP") if name == "clusterIPs" and service.cluster_ip else ()
            yield Fault(("spec", name), forbidden("may not be set for ExternalName services"), at)
    host = service.external_name.removesuffix(".")
    if not host:
        yield Fault(("spec", "externalName"), required())
    elif len(host) > 253:
        yield Fault(("spec", "externalName"), invalid(host, "must be no more than 253 characters"))
    elif not SUBDOMAIN_FORM.fullmatch(host):
        yield Fault(("spec", "externalName"), invalid(host, SUBDOMAIN))
