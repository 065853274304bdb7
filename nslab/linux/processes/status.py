"""The status of a lab's pods, as the nodes' processes write it to files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nslab import rundir
from nslab.linux.netns import folder
from nslab.objects.container import Sandbox
from nslab.objects.names import netns, pod_host
from nslab.objects.process import NodeAgent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


def read_status(lab: str) -> dict[str, dict[str, Any]]:
    """Return the status of all pods, by NAMESPACE/NAME: ready, phase, and the state of each container."""
    pods: dict[str, dict[str, Any]] = {}
    for file in _files(lab):
        pods |= _pods(file)
    return pods


def kept(lab: str, parts: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the containers that nodes manage but that do not run, as (namespace, role): waiting or terminated ones.

    `parts`: the running processes in the same form; a node whose process is dead manages nothing, and its next one
    starts nothing again that has ended for good.
    """
    return {
        part
        for file in _files(lab)
        for part, is_over in _resting(lab, file)
        if (netns(lab, file.name.removesuffix(rundir.STATUS)), NodeAgent.role) in parts
        or (is_over and (part[0], Sandbox.role) in parts)
    }


def _resting(lab: str, file: Path) -> Iterator[tuple[tuple[str, str], bool]]:
    """The containers of a node that do not run, as (namespace, role), and whether each has ended for good."""
    for name, pod in _pods(file).items():
        for container, seen in pod["containers"].items():
            if seen["state"] != "running":
                yield (netns(lab, pod_host(*name.split("/"))), f"container/{container}"), seen["state"] == "terminated"


def runs(lab: str, namespace: str, pod: str, container: str) -> bool:
    """Whether a container runs, as its node reports."""
    return bool(entry(lab, namespace, pod, container).get("state", "running") == "running")


def over(lab: str, namespace: str, pod: str, container: str) -> bool:
    """Whether a container's last run has ended; false while a new one is being created."""
    seen = entry(lab, namespace, pod, container)
    return bool(seen.get("state", "running") != "running" and seen["reason"] != "ContainerCreating")


def entry(lab: str, namespace: str, pod: str, container: str) -> dict[str, Any]:
    """The status of a container as its node reports it; empty if it has not reported yet."""
    reported: dict[str, Any] = read_status(lab).get(f"{namespace}/{pod}", {}).get("containers", {}).get(container, {})
    return reported


def terminated(lab: str) -> set[str]:
    """The terminating pods (NAMESPACE/NAME) that have no process any more."""
    return {name for name, pod in read_status(lab).items() if pod.get("terminated")}


def _files(lab: str) -> list[Path]:
    return sorted((folder(lab) / rundir.NODES).glob(f"*{rundir.STATUS}"))


def _pods(file: Path) -> dict[str, dict[str, Any]]:
    try:
        pods: dict[str, dict[str, Any]] = json.loads(file.read_text())["pods"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return pods
