"""The labs that are up, and the pods of one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.errors import NslabError, UsageError
from nslab.lab.creation import created
from nslab.lab.scheduling import unschedulable
from nslab.lab.termination import key
from nslab.linux import owned, places
from nslab.linux.netns import folder, labs
from nslab.linux.processes import status
from nslab.linux.processes.last_words import last_words
from nslab.linux.processes.stopped import stopped
from nslab.linux.stored_lab import stored_lab
from nslab.objects.container import Sandbox
from nslab.objects.names import netns, pod_host
from nslab.objects.process import Control, NodeAgent
from nslab.views.conditions import why_not_ready
from nslab.views.pods import live_pod, pending_pod, pod_row
from nslab.views.tree import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab
    from nslab.linux.processes.procs import Record


class Pods(NamedTuple):
    """A lab's pods, a row each; `silent`: stopped processes of nodes or control, whose reports are out of date.

    `ended`: the nodes whose processes have ended by an error, with that.
    """

    rows: list[dict[str, Any]]
    silent: list[Record]
    ended: list[tuple[str, str]]


def running() -> list[dict[str, Any]]:
    """Return the labs that are up or half-built: name, contents, number of processes."""
    places.check_run()
    return [{"lab": lab, "holds": _holds(lab), "processes": len(owned.processes(lab))} for lab in labs()]


def _holds(lab: str) -> str:
    """The contents of a lab, or why they cannot be read: the other labs are listed all the same."""
    try:
        return count(stored_lab(lab))
    except UsageError:
        return "half-built; `nslab down` takes it away"
    except NslabError as error:
        return str(error)


def pods(name: str) -> Pods:
    """Return the pods of a running lab, as its nodes report them, by namespace and name."""
    lab, processes = stored_lab(name), owned.processes(name)
    silent = [record for record in stopped(processes) if record.role in (NodeAgent.role, Control.role)]
    found, now = live_pods(lab, processes), time.time()
    whys = reasons(name, found.values())
    rows = [pod_row(pod, now) | {"why": whys.get(key, "")} for key, pod in sorted(found.items())]
    return Pods(rows, silent, _ended(lab, processes))


def _ended(lab: Lab, processes: Iterable[Record]) -> list[tuple[str, str]]:
    there = {record.ns for record in processes if record.role == NodeAgent.role}
    missing = (node.name for node in lab.nodes if netns(lab.name, node.name) not in there)
    return [(node, words) for node in missing if (words := last_words(folder(lab.name), node))]


def reasons(name: str, pods: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return why each of these pods that is not ready is not, by NAMESPACE/NAME."""
    reported = status.read_status(name)
    named = ((f"{one['metadata']['namespace']}/{one['metadata']['name']}", one) for one in pods)
    found = {key: why_not_ready(one, reported.get(key, {})) for key, one in named}
    return {key: why for key, why in found.items() if why}


def live_pods(lab: Lab, processes: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Return each pod as the API has it, by NAMESPACE/NAME."""
    runs = {(record.ns, record.role): record for record in processes}
    reported, now = status.read_status(lab.name), time.time()

    def live(key: str, pod: Pod) -> dict[str, Any]:
        ns = netns(lab.name, pod_host(pod.namespace, pod.name))
        up = [container.name for container in pod.every if (ns, f"container/{container.name}") in runs]
        sandbox = runs.get((ns, Sandbox.role))
        came = _created(lab, pod) or (now - age(sandbox))
        return live_pod(pod, reported.get(key, {}), up, came if sandbox else None)

    keys = ((f"{pod.namespace}/{pod.name}", pod) for pod in lab.pods)
    pending = ((pod, unschedulable(lab, pod)) for pod in lab.pending)
    waiting = {f"{pod.namespace}/{pod.name}": pending_pod(pod, why, _created(lab, pod)) for pod, why in pending}
    return {key: live(key, pod) for key, pod in keys} | waiting


def _created(lab: Lab, pod: Pod) -> float:
    return float(created(lab, "Pod", pod.namespace, pod.name, pod.uid))


def unscheduled(lab: Lab, but: Collection[Pod] = ()) -> list[str]:
    """A line about each pod that no node admits, `but` of these."""
    known = {key(pod) for pod in but}
    pending = ((pod, unschedulable(lab, pod)) for pod in lab.pending if key(pod) not in known)
    return [f"{pod.name} in {pod.namespace} is Pending: {why}" for pod, why in pending]


def age(process: Record | None) -> float:
    """Seconds since a process started; 0 without one."""
    if not process:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start / os.sysconf("SC_CLK_TCK")
