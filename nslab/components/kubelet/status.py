"""The status of a node's pods: stored in NODE.status.json, which outlives the node's process, and sent to control."""

from __future__ import annotations

import contextlib
import json
import time

from nslab import rundir
from nslab.components.apiserver.records import replace
from nslab.components.runtime.control_client import ControlConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from nslab.components.kubelet.container_manager import ContainerManager
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext

    Pods = dict[str, dict[str, Any]]

REST = 10
"""Reporting takes at most 1/(REST + 1) of a node's time, even if many pods change one after the other."""


def phase(containers: Iterable[dict[str, Any]]) -> str:
    """The phase of a pod, by the statuses of its containers."""
    states = [(entry["state"], entry["reason"], entry["exit_code"]) for entry in containers]
    if any(state == "running" or reason == "CrashLoopBackOff" for state, reason, _ in states):
        return "Running"
    if not states or any(state == "waiting" for state, _, _ in states):
        return "Pending"
    return "Failed" if any(code != 0 for _, _, code in states) else "Succeeded"


def pod_status(lives: Iterable[ContainerManager]) -> dict[str, Any]:
    """The status of a pod; it is ready if all its containers are."""
    lives = tuple(lives)
    containers = {life.spec.container: life.status() for life in lives}
    serving = [life for life in lives if life.spec.init != "init"]
    ready = bool(serving) and all(life.ready for life in serving)
    return {"ready": ready, "phase": initialized(lives) or phase(_mains(containers)), "containers": containers}


def initialized(lives: Iterable[ContainerManager]) -> str:
    """The phase of a pod whose init containers are not through; "" if they are."""
    left = [life for life in lives if life.spec.init and not life.passed]
    if any(life.spec.init == "init" and life.state == "terminated" for life in left):
        return "Failed"
    return "Pending" if any(life.spec.init == "init" for life in left) else ""


def _mains(containers: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in containers.values() if not entry.get("init")]


def read(context: NodeContext) -> Pods:
    """The statuses that an earlier process of this node stored."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        with open(f"{context.folder}{rundir.STATUS}", encoding="utf-8") as file:
            pods: Pods = json.load(file)["pods"]
        return pods
    return {}


class StatusReporter:
    """Writes and sends `pods()` soon after calls of `changed`, once for many calls."""

    def __init__(self, loop: Loop, context: NodeContext, pods: Callable[[], Pods]) -> None:
        self._loop, self._place, self._pods = loop, context, pods
        self._line: ControlConnection | None = None
        self._asked, self._next = False, 0.0
        self._since = {name: pod["since"] for name, pod in read(context).items() if "since" in pod}

    def changed(self) -> None:
        """Schedule a report: at the end of this turn of the loop, or after the rest."""
        if not self._asked:
            self._asked = True
            self._loop.at(self._next, self.flush)

    def flush(self) -> None:
        """Report now if a report is due."""
        if self._asked:
            self._report()

    def _report(self) -> None:
        began = time.monotonic()
        self._asked = False
        pods = self._timed(self._pods())
        # Control first: who has read the file may ask control next whether all kube-proxies follow.
        if self._line:
            self._line.send(self._message(pods))
        elif pods:
            # A node without pods has nothing to report and needs no connection.
            self._line = ControlConnection(
                self._loop, self._place.run, lambda: self._message(self._pods()), lambda _: None
            )
        # A full file system costs the file, never the node.
        with contextlib.suppress(OSError):
            replace(f"{self._place.folder}{rundir.STATUS}", json.dumps({"pods": pods}))
        now = time.monotonic()
        self._next = now + REST * (now - began)

    def _timed(self, pods: Pods) -> Pods:
        """The pods, the ready ones with the time since when they are."""
        now = time.time()
        self._since = {name: self._since.get(name, now) for name, pod in pods.items() if pod["ready"]}
        return {name: pod | ({"since": self._since[name]} if pod["ready"] else {}) for name, pod in pods.items()}

    def _message(self, pods: Pods) -> dict[str, Any]:
        return {"op": "status", "node": self._place.node, "pods": pods}
