"""The nodes that a pod's nodeSelector and required nodeAffinity admit, by the nodes' labels: the file's, and those that
every kubelet sets (pure).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nslab.api.selectors import EQUALS, NodeTerm, Requirement, matches, requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.api.pod_types import Pod
    from nslab.lab.lab_document import Machine
    from nslab.lab.types import Node

    Labels = Mapping[str, str]

HOSTNAME, OS, ARCH = "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
ARCHITECTURE = _MACHINES.get(os.uname().machine, os.uname().machine)
"""This machine's, as Kubernetes writes it."""
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def terms(spec: Mapping[str, Any]) -> tuple[NodeTerm, ...]:
    """The terms of a pod's required nodeAffinity; a node must match one."""
    required = spec.get("affinity", {}).get("nodeAffinity", {}).get(REQUIRED, {})
    return tuple(
        NodeTerm(*(tuple(map(requirement, one.get(name, ()))) for name in ("matchExpressions", "matchFields")))
        for one in required.get("nodeSelectorTerms", ())
    )


def labels(node: Machine | Node) -> Labels:
    """A node's labels. The file's override the kubelet's; the beta labels repeat them (node lifecycle controller)."""
    found = {HOSTNAME: node.name, OS: "linux", ARCH: ARCHITECTURE} | dict(node.labels)
    return found | {f"beta.{name}": found[name] for name in (OS, ARCH)}


def labelled(nodes: Iterable[Machine | Node]) -> dict[str, Labels]:
    """The labels of nodes, by their names."""
    return {node.name: labels(node) for node in nodes}


def selector(pod: Pod) -> tuple[Requirement, ...]:
    """The conditions of a pod's nodeSelector."""
    return tuple(Requirement(key, EQUALS, (value,)) for key, value in pod.node_selector)


def admitted(pod: Pod, nodes: Mapping[str, Labels]) -> tuple[str, ...]:
    """The names of the nodes that a pod may be on."""
    return tuple(name for name, found in nodes.items() if admits(pod, name, found))


def admits(pod: Pod, name: str, found: Labels) -> bool:
    """Whether a pod may be on a node."""
    return matches(selector(pod), found) and (
        not pod.node_affinity or any(term.matches(name, found) for term in pod.node_affinity)
    )
