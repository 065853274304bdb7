"""The pods and containers that a plan ends, and what a lab is until they have ended."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from nslab.compiler.addresses import pod_netns
from nslab.dataclass import replace
from nslab.lab.termination import key
from nslab.objects.container import Sandbox, Workload
from nslab.objects.names import netns
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Remove

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from nslab.api.pod_types import Pod
    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject


NOTHING: Mapping[str, Collection[str]] = {}


def is_run(obj: KernelObject) -> bool:
    """Whether it is a process of a pod."""
    return isinstance(obj, Sandbox | Workload)


def ended_by(drift: Drift) -> dict[str, set[str]]:
    """The pods, by their namespaces, of which the plan ends something: which containers; nothing: all."""
    found: dict[str, set[str]] = {}
    ending = [step.obj for step in drift.plan if not isinstance(step, Add) and is_run(step.obj)]
    for obj in ending:
        if isinstance(obj, Workload):
            found.setdefault(obj.ns, set()).add(obj.container)
    return found | {obj.ns: set() for obj in ending if isinstance(obj, Sandbox)}


def unnamed_by(drift: Drift) -> set[str]:
    """The namespaces that lose their names by the plan."""
    return {step.obj.ns for step in drift.plan if isinstance(step, Remove) and isinstance(step.obj, Netns)}


def until_ended(drift: Drift, before: Lab) -> Lab:
    """The lab with those pods alone that were there before, at the same address; what is to be replaced terminates."""
    there, ended = {(*key(pod), pod.assigned) for pod in before.pods}, ended_by(drift)
    pods = (pod for pod in drift.lab.pods if (*key(pod), pod.assigned) in there)
    now = time.time()
    return replace(
        drift.lab,
        pods=tuple(replace(pod, deletion=now) if pod_netns(drift.lab, pod) in ended else pod for pod in pods),
    )


def times_to_end(
    lab: Lab,
    pods: Iterable[Pod],
    now: float,
    grace: int | None = None,
    most: float = math.inf,
    some: Mapping[str, Collection[str]] = NOTHING,
) -> dict[str, dict[str, float]]:
    """The seconds that pods have to end, or `some` of their containers: by node, and pod (and container).

    `now`: seconds since 1970; `grace`: instead of each pod's own; `most`: no pod has more.
    """
    times: dict[str, dict[str, float]] = {}
    for pod in pods:
        seconds = float(pod.grace if grace is None else grace)
        seconds = max(0.0, pod.deletion - now) if pod.deletion else seconds
        mine = times.setdefault(netns(lab.name, pod.node), {})
        ns = pod_netns(lab, pod)
        for name in some.get(ns) or ("",):
            mine[f"{ns}/{name}" if name else ns] = min(seconds, most)
    return times
