"""Views of NetworkPolicies and Namespaces, which are among a lab's other objects; and a policy's defaults."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from nslab.api.document import Document
from nslab.api.selectors import EQUALS, Requirement, requirement
from nslab.lab.stream import is_later_hook
from nslab.policy.model import Namespace, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.lab.types import Kept

POLICY = ("networking.k8s.io/v1", "NetworkPolicy")
NAMESPACE = ("v1", "Namespace")
TYPES = ("Ingress", "Egress")


def is_policy(one: Document) -> bool:
    """Whether an object is a NetworkPolicy of Kubernetes."""
    return (one.value.get("apiVersion"), one.kind) == POLICY


def network_policies(kept: Iterable[Kept]) -> tuple[NetworkPolicy, ...]:
    """The NetworkPolicies of a lab, in its order."""
    policies = [Document(one.document) for one in kept if (one.api_version, one.kind) == POLICY]
    return tuple(network_policy(one) for one in policies if not is_later_hook(one))


def namespaces(kept: Iterable[Kept]) -> tuple[Namespace, ...]:
    """The Namespaces of a lab; other objects may name more."""
    found = (Document(one.document) for one in kept if (one.api_version, one.kind) == NAMESPACE)
    return tuple(Namespace(one.name, tuple(one.labels.items())) for one in found)


def set_defaults(spec: dict[str, Any]) -> None:
    """Fill in a policy's defaults in place (Kubernetes: SetDefaults_NetworkPolicy)."""
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = [*TYPES] if spec.get("egress") else [TYPES[0]]
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            port["protocol"] = port.get("protocol") or "TCP"


def network_policy(one: Document) -> NetworkPolicy:
    """A NetworkPolicy that is valid and has its defaults."""
    types = one.spec["policyTypes"]
    return NetworkPolicy(
        one.namespace,
        one.name,
        conditions(one.spec.get("podSelector", {})),
        tuple(_rule(rule, "from") for rule in one.spec.get("ingress", ())) if "Ingress" in types else None,
        tuple(_rule(rule, "to") for rule in one.spec.get("egress", ())) if "Egress" in types else None,
    )


def conditions(selector: dict[str, Any]) -> tuple[Requirement, ...]:
    """The conditions of a selector in Calico's order: labels by key, then expressions as they are written."""
    equal = (Requirement(key, EQUALS, (value,)) for key, value in sorted(selector.get("matchLabels", {}).items()))
    return (*equal, *map(requirement, selector.get("matchExpressions", ())))


def peer(fields: dict[str, Any]) -> PolicyPeer:
    """One of a rule's peers."""
    if "ipBlock" in fields:
        block = fields["ipBlock"]
        return PolicyPeer(block=_network(block["cidr"]), excepts=tuple(map(_network, block.get("except", ()))))
    pods, spaces = fields.get("podSelector"), fields.get("namespaceSelector")
    return PolicyPeer(
        None if pods is None else conditions(pods),
        None if spaces is None else conditions(spaces),
    )


def _rule(fields: dict[str, Any], ends: str) -> PolicyRule:
    ports = (PolicyPort(one["protocol"], one.get("port", 0), one.get("endPort", 0)) for one in fields.get("ports", ()))
    return PolicyRule(tuple(map(peer, fields.get(ends, ()))), tuple(ports))


def _network(word: str) -> str:
    """The network in which an address with a prefix length is."""
    return str(ip_network(word, strict=False))
