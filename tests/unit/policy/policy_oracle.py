"""Who may reach whom, from the words of the API's documentation and nothing else: no code of nslab's.

`spec.podSelector` selects pods of the policy's namespace; pods are isolated in a direction if a policy of that type
selects them; then a connection needs a rule of some policy that matches its other end and its port. Both ends must
allow it; policies add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any


@dataclass(frozen=True)
class End:
    """A pod, or (without a namespace) a host outside. `ports`: numbers by name and protocol."""

    ip: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Oracle:
    """The policies' documents, and the labels of namespaces."""

    policies: list[dict[str, Any]]
    namespaces: dict[str, dict[str, str]]

    def allows(self, source: End, destination: End, protocol: str, port: int) -> bool:
        out = self._passes("Egress", "to", source, destination, destination, protocol, port)
        return out and self._passes("Ingress", "from", destination, source, destination, protocol, port)

    def _passes(self, kind: str, ends: str, subject: End, other: End, server: End, protocol: str, port: int) -> bool:
        isolating = [one for one in self.policies if kind in types(one["spec"]) and self._selects(one, subject)]
        rules = [(one, rule) for one in isolating for rule in one["spec"].get(kind.lower()) or []]
        return not isolating or any(
            self._meets(one, rule.get(ends), other) and serves(rule.get("ports"), server, protocol, port)
            for one, rule in rules
        )

    def _selects(self, policy: dict[str, Any], subject: End) -> bool:
        selector = policy["spec"].get("podSelector", {})
        return subject.namespace == policy["metadata"]["namespace"] and fits(selector, subject.labels)

    def _meets(self, policy: dict[str, Any], peers: list[dict[str, Any]] | None, other: End) -> bool:
        return not peers or any(self._is(policy, peer, other) for peer in peers)

    def _is(self, policy: dict[str, Any], peer: dict[str, Any], other: End) -> bool:
        if "ipBlock" in peer:
            nets = [ip_network(word) for word in (peer["ipBlock"]["cidr"], *peer["ipBlock"].get("except", []))]
            return ip_address(other.ip) in nets[0] and not any(ip_address(other.ip) in net for net in nets[1:])
        if not other.namespace or not fits(peer.get("podSelector", {}), other.labels):
            return False
        if "namespaceSelector" in peer:
            return fits(peer["namespaceSelector"], self.namespaces[other.namespace])
        return other.namespace == policy["metadata"]["namespace"]


def types(spec: dict[str, Any]) -> list[str]:
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def serves(ports: list[dict[str, Any]] | None, server: End, protocol: str, port: int) -> bool:
    if not ports:
        return True
    for one in ports:
        wanted = one.get("port")
        if isinstance(wanted, str):
            wanted = server.ports.get((wanted, one.get("protocol", "TCP")), -1)
        if one.get("protocol", "TCP") == protocol and (wanted is None or wanted <= port <= one.get("endPort", wanted)):
            return True
    return False


def fits(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        {
            "In": labels.get(one["key"]) in one.get("values", []),
            "NotIn": labels.get(one["key"]) not in one.get("values", []),
            "Exists": one["key"] in labels,
            "DoesNotExist": one["key"] not in labels,
        }[one["operator"]]
        for one in selector.get("matchExpressions", [])
    )
