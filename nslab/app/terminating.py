"""Seeing pods that terminate off: when nothing of them runs any more, what there is of them is removed."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from nslab.compiler.addresses import pod_netns
from nslab.errors import UsageError
from nslab.lab.termination import key
from nslab.linux import signals
from nslab.linux.netns import folder
from nslab.linux.processes import status
from nslab.linux.processes.agents import Agents
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from nslab.lab.termination import Key
    from nslab.lab.types import Lab

LATE = 1.0
"""Seconds after its time is over that a pod counts as ended which its node says nothing of."""


def terminating(lab: Lab) -> set[Key]:
    """The pods that are to end."""
    return {key(pod) for pod in lab.pods if pod.deletion}


def ended(lab: Lab) -> set[Key]:
    """Those that have, as their nodes say, or had to."""
    late, gone = time.time() - LATE, status.terminated(lab.name)
    return {
        key(pod) for pod in lab.pods if pod.deletion and (pod.deletion < late or f"{pod.namespace}/{pod.name}" in gone)
    }


def see_off(name: str, sweep: Callable[[str], object], pods: Collection[Key] | None = None) -> None:
    """Wait until these pods are gone, or all that terminate; `sweep` removes those that have ended.

    A signal raises Stopped. Nothing is locked meanwhile.
    """
    while lab := _lab(name):
        waited = terminating(lab) if pods is None else terminating(lab) & {*pods}
        if not waited:
            return
        if not waited & ended(lab):
            _wait(lab, waited)
        sweep(name)


def _lab(name: str) -> Lab | None:
    try:
        return stored_lab(name)
    except UsageError:  # somebody took it away
        return None


def _wait(lab: Lab, waited: Collection[Key]) -> None:
    """Until the first of these has ended, or its time is over."""
    now = time.time()
    pods = [pod for pod in lab.pods if key(pod) in waited]
    nodes: dict[str, list[str]] = {}
    for pod in pods:
        nodes.setdefault(netns(lab.name, pod.node), []).append(pod_netns(lab, pod))
    with Agents(lab.name, folder(lab.name)) as agents, signals.allowed():
        agents.wait_any_terminated(nodes, min(pod.deletion for pod in pods) + LATE - now)


def leave(name: str, work: str = "see_off") -> None:
    """Have a process of its own see them off, and do not wait for it. `work`: another function of nslab.app.change."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {package!r}); from nslab.app.change import {work}; {work}(sys.argv[1])"
    # A shell between, so that nobody has a child to collect who may run for long.
    shell = ["/bin/sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "sh"]
    argv = [*shell, sys.executable, "-IB", "-c", code, name]
    pid = os.posix_spawn(argv[0], argv, _environment(), setsid=True, setsigmask=[])
    os.waitpid(pid, 0)


def _environment() -> dict[str, str]:
    kept = ("PATH", "NSLAB_TIMEOUT_FACTOR", "NSLAB_PATIENCE")
    return {name: os.environ[name] for name in kept if name in os.environ}
