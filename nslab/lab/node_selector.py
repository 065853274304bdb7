"""The nodes that a pod's nodeSelector admits, by their labels: the file's, and those that every kubelet sets (pure)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.lab.lab_document import Machine

    Selector = tuple[tuple[str, str], ...]

HOSTNAME, OS, ARCH = "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
ARCHITECTURE = _MACHINES.get(os.uname().machine, os.uname().machine)
"""This machine's, as Kubernetes writes it."""


def labels(node: Machine) -> Mapping[str, str]:
    """A node's labels. The file's override the kubelet's."""
    kubelets = {HOSTNAME: node.name, OS: "linux", ARCH: ARCHITECTURE}
    old = {f"beta.{name}": kubelets[name] for name in (OS, ARCH)}
    return kubelets | old | node.labels


def admitted(selector: Selector, nodes: Sequence[Machine]) -> tuple[str, ...]:
    """The names of the nodes that have all labels of a selector. A label that no node has excludes none."""
    if not selector:
        return tuple(node.name for node in nodes)
    of_nodes = [(node.name, labels(node)) for node in nodes]
    known = {name for name, _ in selector if any(name in found for _, found in of_nodes)}
    return tuple(
        name for name, found in of_nodes if all(found.get(key) == value for key, value in selector if key in known)
    )
