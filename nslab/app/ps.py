"""The labs that are up, and the pods of one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.errors import UsageError
from nslab.linux import owned
from nslab.linux.netns import labs
from nslab.linux.processes import status
from nslab.linux.processes.stopped import stopped
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import netns, pod_host
from nslab.objects.process import Control, NodeAgent
from nslab.views.pods import pod_row
from nslab.views.tree import count

if TYPE_CHECKING:
    from nslab.lab.types import Pod
    from nslab.linux.processes.procs import Record


class Pods(NamedTuple):
    """A lab's pods, a row each; `silent`: processes of nodes, or control, that stand still: what they said is old."""

    rows: list[dict[str, Any]]
    silent: list[Record]


def running() -> list[dict[str, Any]]:
    """The labs that are up, or half-built: name, what each holds, how many processes."""
    return [{"lab": lab, "holds": _holds(lab), "processes": len(owned.processes(lab))} for lab in labs()]


def _holds(lab: str) -> str:
    try:
        return count(stored_lab(lab))
    except UsageError:
        return "half-built; `nslab down` takes it away"


def pods(name: str) -> Pods:
    """The pods of a running lab, as its nodes see them, by namespace and name."""
    lab = stored_lab(name)
    processes = owned.processes(name)
    runs = {(record.ns, record.role): record for record in processes}
    reported, now = status.read_status(name), time.time()

    def row(pod: Pod) -> dict[str, Any]:
        ns = netns(lab.name, pod_host(pod.namespace, pod.name))
        up = [container.name for container in pod.containers if (ns, f"container/{container.name}") in runs]
        pause = runs.get((ns, "pause"))
        seen = reported.get(f"{pod.namespace}/{pod.name}", {})
        return pod_row(pod, seen, up, pause=pause is not None, age=_age(pause), now=now)

    silent = [one for one in stopped(processes) if one.role in (NodeAgent.role, Control.role)]
    return Pods([row(pod) for pod in sorted(lab.pods, key=lambda pod: (pod.namespace, pod.name))], silent)


def _age(process: Record | None) -> float:
    """For how many seconds a process has been there."""
    if not process:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start / os.sysconf("SC_CLK_TCK")
