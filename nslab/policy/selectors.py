"""Calico's selectors: the text that it makes of a policy's conditions, and the pods that they match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.selectors import matches
from nslab.policy.model import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nslab.api.selectors import Requirement
    from nslab.policy.model import Cluster, NetworkPolicy, PolicyPeer, WorkloadEndpoint

ALL = "all()"
_POD = 'projectcalico.org/orchestrator == "k8s"'
_ANY_NAMESPACE = "has(projectcalico.org/namespace)"


def of_peer(peer: PolicyPeer, namespace: str) -> str:
    """The selector of a peer; `namespace`: the policy's."""
    if peer.namespaces is None:
        where = _namespace(namespace)
    else:
        where = _all_of([_condition(one, "pcns.") for one in peer.namespaces]) or _ANY_NAMESPACE
    return f"({where} && {_pods(peer.pods or ())})"


def of_policy(policy: NetworkPolicy) -> str:
    """The selector of the pods that a policy isolates."""
    return f"({_pods(policy.pods)} && {_namespace(policy.namespace)})"


def selects(policy: NetworkPolicy, workload: WorkloadEndpoint) -> bool:
    """Whether a policy selects a pod."""
    return policy.namespace == workload.namespace and matches(policy.pods, dict(workload.labels))


def members(
    peer: PolicyPeer, namespace: str, cluster: Cluster, labels: Mapping[str, Mapping[str, str]]
) -> list[WorkloadEndpoint]:
    """The pods of a peer that is no block. `namespace`: the policy's; `labels`: of namespaces, by name."""
    if peer.namespaces is None:
        chosen = {namespace}
    else:
        chosen = {name for name, own in labels.items() if matches(peer.namespaces, own)}
    pods = peer.pods or ()
    return [one for one in cluster.workloads if one.namespace in chosen and matches(pods, dict(one.labels))]


def namespace_labels(cluster: Cluster) -> dict[str, dict[str, str]]:
    """The labels of all namespaces that there are, or in which there are pods."""
    known = {one.name: one.all_labels for one in cluster.namespaces}
    implied = {one.namespace for one in cluster.workloads} - known.keys()
    return known | {name: Namespace(name).all_labels for name in implied}


def _pods(conditions: Sequence[Requirement]) -> str:
    return _all_of([_POD, *map(_condition, conditions)])


def _namespace(name: str) -> str:
    return f'projectcalico.org/namespace == "{name}"'


def _all_of(texts: Sequence[str]) -> str:
    return f"({' && '.join(texts)})" if len(texts) > 1 else "".join(texts)


def _condition(one: Requirement, prefix: str = "") -> str:
    key = prefix + one.key
    match one.operator:
        case "In":
            return f"{key} in {{{_listed(one.values)}}}"
        case "NotIn":
            return f"{key} not in {{{_listed(one.values)}}}"
        case "Exists":
            return f"has({key})"
        case "DoesNotExist":
            return f"!has({key})"
        case _:
            return f'{key} == "{one.values[0]}"'


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in sorted({*values}))
