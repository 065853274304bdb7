"""What Felix is told, as JSON: the cluster, and each node's settings. Fields with their default are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.selectors import Requirement
from nslab.dataclass import fields
from nslab.policy.model import (
    Cluster,
    FelixNode,
    NamedPort,
    Namespace,
    NetworkPolicy,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
    WorkloadEndpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    Document = dict[str, Any]


def to_json(cluster: Cluster, nodes: Iterable[FelixNode]) -> Document:
    """One document for all nodes of a cluster."""
    return {"cluster": _plain(cluster), "nodes": {node.name: _plain(node) for node in nodes}}


def from_json(document: Document, node: str) -> tuple[Cluster, FelixNode]:
    """The cluster of a document by `to_json`, and one node."""
    found = document["cluster"]
    cluster = Cluster(
        tuple(map(_policy, found.get("policies", ()))),
        tuple(map(_workload, found.get("workloads", ()))),
        tuple(Namespace(**{**one, "labels": _pairs(one)}) for one in found.get("namespaces", ())),
        tuple(found.get("pools", ())),
    )
    return cluster, FelixNode(**_tuples(document["nodes"][node]))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):  # a Requirement, too
        return [_plain(one) for one in value]
    if isinstance(value, str | int | None):
        return value
    return {field.name: _plain(one) for field in fields(value) if (one := getattr(value, field.name)) != field.default}


def _policy(document: Document) -> NetworkPolicy:
    found = {**document, "pods": _requirements(document.get("pods", ()))}
    found |= {name: tuple(map(_rule, document[name])) for name in ("ingress", "egress") if name in document}
    return NetworkPolicy(**found)


def _rule(document: Document) -> PolicyRule:
    return PolicyRule(
        tuple(map(_peer, document.get("peers", ()))), tuple(PolicyPort(**port) for port in document.get("ports", ()))
    )


def _peer(document: Document) -> PolicyPeer:
    found = _tuples(document)
    found |= {name: _requirements(document[name]) for name in ("pods", "namespaces") if name in document}
    return PolicyPeer(**found)


def _workload(document: Document) -> WorkloadEndpoint:
    ports = tuple(NamedPort(**port) for port in document.get("ports", ()))
    return WorkloadEndpoint(**{**document, "labels": _pairs(document), "ports": ports})


def _requirements(listed: Iterable[tuple[str, str, Iterable[str]]]) -> tuple[Requirement, ...]:
    return tuple(Requirement(key, operator, tuple(values)) for key, operator, values in listed)


def _pairs(document: Document) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in document.get("labels", ()))


def _tuples(document: Document) -> Document:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
