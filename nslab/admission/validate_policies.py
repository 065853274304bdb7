"""Checks of NetworkPolicies, with the API server's messages (Kubernetes: pkg/apis/networking/validation)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from nslab.admission.validate_services import PROTOCOLS, SUBDOMAIN_FORM, is_network, name_errors
from nslab.api.document import EXISTING
from nslab.api.selectors import selector_errors
from nslab.api.sentences import (
    CIDR,
    PORT_NUMBER,
    SUBDOMAIN,
    forbidden,
    invalid,
    of_object,
    port_name_faults,
    required,
    unsupported,
)
from nslab.api.words import shown
from nslab.errors import FieldError
from nslab.lab.policy_views import POLICY, TYPES, is_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

CALICO = ("crd.projectcalico.org", "projectcalico.org")
"""The groups of Calico's own objects: as its datastore has them, and as its API server has them."""
CALICO_POLICIES = ("GlobalNetworkPolicy", "NetworkPolicy")


def network_policies(found: Documents) -> Iterator[FieldError]:
    """Each NetworkPolicy is valid, and no new one is of a kind that only Calico has."""
    is_kept = found.lab.stored and found.lab.document != EXISTING
    for one in found.others:
        if is_policy(one):
            name = name_errors(one.name, SUBDOMAIN_FORM, SUBDOMAIN, 253)
            for error in (*name, *_spec(one.spec)):
                yield of_object(one, error)
        elif one.path[0] != EXISTING and not is_kept:
            yield from _of_calico(one)


def _of_calico(one: Document) -> Iterator[FieldError]:
    version = str(one.value.get("apiVersion"))
    if version.rpartition("/")[0] in CALICO and one.kind in CALICO_POLICIES:
        text = f"{one.kind} {shown(one.name)} of {shown(version)} is a policy that only Calico has, with rules"
        instead = f"{POLICY[1]} of {POLICY[0]}"
        yield FieldError((*one.path, "kind"), f"{text} that nslab does not read; write a {instead}, or leave it out")


def _spec(spec: dict[str, Any]) -> Iterator[FieldError]:
    """The errors of a policy (ValidateNetworkPolicySpec)."""
    yield from selector_errors(spec.get("podSelector", {}), ("spec", "podSelector"))
    for direction, ends in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            path: FieldPath = ("spec", direction, index)
            for place, port in enumerate(rule.get("ports", ())):
                yield from _port(port, (*path, "ports", place))
            for place, peer in enumerate(rule.get(ends, ())):
                yield from _peer(peer, (*path, ends, place))
    types = spec["policyTypes"]
    if len(types) > len(TYPES):
        yield FieldError(("spec", "policyTypes"), invalid(types, "may not specify more than two policyTypes"))
    else:
        for index, word in enumerate(types):
            if word not in TYPES:
                yield FieldError(("spec", "policyTypes", index), unsupported(word, TYPES))


def _port(fields: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    """The errors of one of a rule's ports (ValidateNetworkPolicyPort)."""
    protocol, port, end = fields["protocol"], fields.get("port"), fields.get("endPort")
    if protocol not in PROTOCOLS:
        yield FieldError((*path, "protocol"), unsupported(protocol, PROTOCOLS))
    if isinstance(port, int):
        if not 1 <= port <= 65535:
            yield FieldError((*path, "port"), invalid(port, PORT_NUMBER))
        if end is not None and end < port:
            yield FieldError((*path, "endPort"), invalid(end, "must be greater than or equal to `port`"))
        if end is not None and not 1 <= end <= 65535:
            yield FieldError((*path, "endPort"), invalid(end, PORT_NUMBER))
        return
    if end is not None:
        when = "is non-numeric" if port is not None else "is not specified"
        yield FieldError((*path, "endPort"), invalid(end, f"may not be specified when `port` {when}"))
    if port is not None:
        yield from (FieldError((*path, "port"), invalid(port, why)) for why in port_name_faults(port))


def _peer(fields: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    """The errors of one of a rule's peers (ValidateNetworkPolicyPeer)."""
    for name in ("podSelector", "namespaceSelector"):
        yield from selector_errors(fields.get(name, {}), (*path, name))
    if "ipBlock" in fields:
        yield from _block(fields["ipBlock"], (*path, "ipBlock"))
        if len(fields) > 1:
            yield FieldError(path, forbidden("may not specify both ipBlock and another peer"))
    elif not fields:
        yield FieldError(path, required("must specify a peer"))


def _block(fields: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    """The errors of an ipBlock (ValidateIPBlock)."""
    if not (word := fields.get("cidr", "")):
        yield FieldError((*path, "cidr"), required())
    elif not is_network(word):
        yield FieldError((*path, "cidr"), invalid(word, CIDR))
    else:
        whole = ip_network(word, strict=False)
        for index, part in enumerate(fields.get("except", ())):
            at = (*path, "except", index)
            if not is_network(part):
                yield FieldError(at, invalid(part, CIDR))
            elif not _is_within(ip_network(part, strict=False), whole):
                yield FieldError(at, invalid(part, "must be a strict subset of `cidr`"))


def _is_within(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    """Whether a network is a part of another, and not all of it."""
    match part, whole:
        case (IPv4Network(), IPv4Network()) | (IPv6Network(), IPv6Network()):
            return part.subnet_of(whole) and part != whole  # type: ignore[arg-type]
        case _:
            return False
