"""Warnings for NetworkPolicies that probably do not what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.document import EXISTING
from nslab.api.selectors import matches
from nslab.api.words import shown
from nslab.errors import FieldError
from nslab.lab.policy_views import conditions, is_policy, peer
from nslab.lab.stream import is_later_hook
from nslab.policy.model import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.api.pod_types import Pod
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents


def policies(found: Documents) -> Iterator[FieldError]:
    """Policies without an enforcer, without pods, and with names of ports that no pod has."""
    there = [one for one in found.others if is_policy(one) and not is_later_hook(one)]
    if there and found.lab.document is not None and not found.lab.rules.policies:
        text = f"{found.lab.rules.label} nothing that enforces NetworkPolicies"
        newest = max(there, key=lambda one: one.path[0] != EXISTING)
        yield FieldError((*newest.path, "kind"), f"{text}: pods reach each other as if there were none")
    within, pods = ([one.view for one in found.pods if one.view.host_network is shared] for shared in (True, False))
    labels = {one.name: one.labels for one in found.others if one.kind == "Namespace"}
    for one in there:
        selected = _selected(one, pods)
        if not selected:
            listed = ",".join(map(str, conditions(one.spec["podSelector"]))) or "any"
            text = (
                f"NetworkPolicy {shown(one.name)} selects no pod of namespace {shown(one.namespace)}: {shown(listed)}"
            )
            text += " (none with hostNetwork is ever selected)" if _selected(one, within) else ""
            yield FieldError((*one.path, "spec", "podSelector"), text)
        for index, rule in enumerate(one.spec.get("ingress", ()) if selected else ()):
            yield from _ports(one, rule, selected, ("spec", "ingress", index))
        for index, rule in enumerate(one.spec.get("egress", ())):
            yield from _ports(one, rule, _peers(one, rule, pods, labels), ("spec", "egress", index))


def _selected(one: Document, pods: list[Pod]) -> list[Pod]:
    """The pods that a policy isolates."""
    asked = conditions(one.spec["podSelector"])
    return [pod for pod in pods if pod.namespace == one.namespace and matches(asked, dict(pod.labels))]


def _peers(one: Document, rule: dict[str, Any], pods: list[Pod], labels: dict[str, dict[str, str]]) -> list[Pod]:
    """The pods to which a rule allows connections; all for a rule without peers, and for a block."""
    asked = [peer(fields) for fields in rule.get("to", ())]
    if not asked or any(end.block for end in asked):
        return pods

    def is_meant(pod: Pod) -> bool:
        own = Namespace(pod.namespace, tuple(labels.get(pod.namespace, {}).items())).all_labels
        return any(
            (pod.namespace == one.namespace if end.namespaces is None else matches(end.namespaces, own))
            and matches(end.pods or (), dict(pod.labels))
            for end in asked
        )

    return [pod for pod in pods if is_meant(pod)]


def _ports(one: Document, rule: dict[str, Any], pods: list[Pod], path: FieldPath) -> Iterator[FieldError]:
    """Names of ports that none of these pods has, so that the rule allows nothing by them."""
    known = {(port.name, str(port.protocol)) for pod in pods for each in pod.containers for port in each.ports}
    for index, port in enumerate(rule.get("ports", ())):
        name, protocol = port.get("port"), port["protocol"]
        if isinstance(name, str) and (name, protocol) not in known:
            whose = "it selects" if path[1] == "ingress" else "the rule names"
            text = f"NetworkPolicy {shown(one.name)}: no pod that {whose} has a port {shown(name)} ({protocol})"
            there = tuple(sorted(word for word, used in known if word and used == protocol))
            yield FieldError((*one.path, *path, "ports", index, "port"), text, word=name, known=there)
