"""The containers that a change starts, whose readiness is its concern; and the pods that were not ready without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import pod_netns
from nslab.lab.views import FINISHED
from nslab.linux.processes import status
from nslab.objects.container import Workload
from nslab.objects.plan import Remove
from nslab.objects.process import NodeAgent

if TYPE_CHECKING:
    from collections.abc import Collection

    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.objects.plan import Plan

    Key = tuple[str, str]


def started(drift: Drift, attached: Plan = ()) -> set[Key]:
    """The containers, by namespace and name, that a plan starts, and those that its new processes of nodes take over.

    Of the latter those of pods that were ready. `attached`: the part of the plan that was done before.
    """
    steps = [step.obj for step in (*attached, *drift.plan) if not isinstance(step, Remove)]
    nodes = {obj.ns for obj in steps if isinstance(obj, NodeAgent)}
    ready = {pod_netns(drift.lab, pod) for pod in drift.lab.pods if pod.ready and not pod.finished}
    kept = [obj for obj in drift.want if isinstance(obj, Workload) and obj.node in nodes and obj.ns in ready]
    return {(obj.ns, obj.container) for obj in (*steps, *kept) if isinstance(obj, Workload)}


def unready(lab: Lab, changed: Collection[Key]) -> tuple[str, ...]:
    """The pods, NAMESPACE/NAME, that are not ready, or have failed, and of which nothing was `changed`."""
    seen, touched = status.read_status(lab.name), {ns for ns, _ in changed}
    there = {f"{pod.namespace}/{pod.name}": pod for pod in lab.pods if not pod.deletion}
    return tuple(
        key
        for key, pod in sorted(there.items())
        if key in seen and not seen[key]["ready"] and seen[key].get("phase") != FINISHED[0]
        and pod_netns(lab, pod) not in touched
    )  # fmt: skip
