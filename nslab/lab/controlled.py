"""The pods that a lab's controllers have after their next step. Pure.

A lab in which every controller has all the pods that it is to have in the end becomes one on the way there: pods that
exist stay what they were made from, until their controller (nslab.lab.rollout) ends them.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

from nslab.api.suffix import generated
from nslab.dataclass import replace
from nslab.lab.history import earlier_replica_sets
from nslab.lab.jobs import JOB
from nslab.lab.network_rules import RULES
from nslab.lab.node_selector import admitted, labelled
from nslab.lab.replica_sets import revision
from nslab.lab.rollout import ON_DELETE, Replica, decide, is_rolling, ordinal, partition
from nslab.lab.status import renamed
from nslab.lab.termination import key
from nslab.lab.types import DAEMON_SET, TEMPLATE_HASH
from nslab.lab.views import owner_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Controller, Lab

    Report = Mapping[str, Mapping[str, Any]]


def stepped(new: Lab, kept: Lab, report: Report, now: float) -> Lab:
    """The new lab after one step of its controllers.

    `new`: with all their pods, of their present templates; `kept`: as it is; `report`: of its nodes, by NAMESPACE/NAME
    (`ready`, and `since` when); `now`: in seconds since 1970.
    """
    before = {one.owner_name for one in kept.controllers}
    pods: dict[str, Sequence[Pod]] = {}
    replaced = list(new.replaced)
    for one in new.controllers:
        if one.kind != JOB and one.owner_name in before:
            pods[one.owner_name], ended = _pods(one, new, kept, report, now)
            replaced += ended
    every = _in_order(new, pods)
    placed, pending = (tuple(pod for pod in every if bool(pod.node) is on_a_node) for on_a_node in (True, False))
    made = _within_room(replace(new, pods=placed, pending=pending, replaced=tuple(replaced)), kept)
    return replace(made, replica_sets=(*earlier_replica_sets(made, kept),))


def wakes(lab: Lab, report: Report, now: float) -> float:
    """When the next pod becomes available by its age alone, in seconds since 1970; infinity: none does."""
    times = (
        report.get(name(pod), {}).get("since", 0.0) + minimum
        for one in lab.controllers
        if (minimum := min_ready(one)) and is_unfinished(one, lab)
        for pod in _owned(one, lab.all_pods)
        if report.get(name(pod), {}).get("ready")
    )
    return min((time for time in times if time > now), default=float("inf"))


def is_unfinished(controller: Controller, lab: Lab) -> bool:
    """Whether pods of an earlier template are to go, or pods are to come."""
    if controller.kind == JOB:
        return False
    there = _replicas(controller, _owned(controller, lab.all_pods), {}, 0.0)
    every = controller.kind == DAEMON_SET
    wanted = len(admitted(controller.template, labelled(lab.nodes))) if every else controller.replicas
    return is_rolling(controller, there) or len(there) < wanted


def is_available(pod: Pod, controller: Controller, report: Report, now: float) -> bool:
    """Whether a pod has been ready for its controller's minReadySeconds."""
    seen = report.get(name(pod), {})
    return bool(seen.get("ready")) and now >= seen.get("since", 0.0) + min_ready(controller)


def is_updated(pod: Pod, controller: Controller) -> bool:
    """Whether a pod has its controller's present template."""
    return revision(controller).items() <= dict(pod.labels).items()


def min_ready(controller: Controller) -> int:
    """How many seconds a pod must have been ready to be available."""
    return int(controller.document.get("spec", {}).get("minReadySeconds") or 0)


def name(pod: Pod) -> str:
    """NAMESPACE/NAME."""
    return f"{pod.namespace}/{pod.name}"


def owner_of_terminating(pod: Pod) -> str:
    """The controller that a terminating pod belonged to; "" of all others."""
    return owner_of(pod.document, pod.namespace) if pod.deletion else ""


def _owned(controller: Controller, pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if pod.owner == controller.owner_name and not pod.deletion]


def _replicas(controller: Controller, pods: Iterable[Pod], report: Report, now: float) -> list[Replica]:
    return [Replica(pod, is_updated(pod, controller), is_available(pod, controller, report, now)) for pod in pods]


def _pods(controller: Controller, new: Lab, kept: Lab, report: Report, now: float) -> tuple[list[Pod], list[str]]:
    """A controller's pods after the step, and the names of those that it replaces."""
    target = {key(pod): pod for pod in _owned(controller, new.all_pods)}
    deleted = {one for one, times in Counter(new.replaced).items() if times > kept.replaced.count(one)}
    mine = _owned(controller, kept.all_pods)
    existing = [pod for pod in mine if name(pod) not in deleted]
    existing += _successors(controller, [pod for pod in mine if name(pod) in deleted], mine, new)
    there = _replicas(controller, _wanted(controller, existing, target), report, now)
    leaving = [pod for pod in kept.pods if owner_of_terminating(pod) == controller.owner_name]
    known = {key(one.pod) for one in there}
    missing = [pod for one, pod in target.items() if one not in known]
    decision = decide(controller, there, missing, leaving)
    ends = {key(pod) for pod in decision.end}
    stay = {key(one.pod): _as_wanted(one, target) for one in there if key(one.pod) not in ends}
    stay |= {key(pod): pod for pod in decision.make}
    first = [one for one in stay if one not in target]
    return [stay[one] for one in (*first, *target) if one in stay], [name(pod) for pod in decision.end]


def _as_wanted(one: Replica, target: Mapping[tuple[str, str], Pod]) -> Pod:
    """A pod that stays: as it was made, or (of the present template) with what has changed around it."""
    return target.get(key(one.pod), one.pod) if one.updated else one.pod


def _wanted(controller: Controller, pods: list[Pod], target: Mapping[tuple[str, str], Pod]) -> list[Pod]:
    """The existing pods without those that scaling down, or a node's new labels, have taken away."""
    if controller.kind == DAEMON_SET:
        nodes = {pod.node for pod in target.values()}
        return [pod for pod in pods if pod.node in nodes]
    if controller.kind == "Deployment":
        return [pod for pod in pods if key(pod) in target or not is_updated(pod, controller)]
    if controller.kind == "StatefulSet":
        return [pod for pod in pods if key(pod) in target]
    surplus = max(0, len(pods) - controller.replicas)
    gone = [key(pod) for pod in reversed(pods) if key(pod) not in target][:surplus]
    return [pod for pod in pods if key(pod) not in gone]


def _successors(controller: Controller, deleted: list[Pod], mine: list[Pod], new: Lab) -> list[Pod]:
    """Pods of an earlier template in place of deleted ones: their ReplicaSet, or the partition, wants them."""
    if controller.kind == "StatefulSet":
        strategy = controller.document["spec"].get("updateStrategy") or {}
        keep = partition(controller) if strategy.get("type") != ON_DELETE else 0
        old = [pod for pod in deleted if ordinal(pod) < keep and not is_updated(pod, controller)]
        return [_fresh(renamed(pod, pod.name, new)) for pod in old]
    old = [pod for pod in deleted if controller.kind == "Deployment" and not is_updated(pod, controller)]
    taken = {pod.name for pod in mine} | {one.partition("/")[2] for one in new.replaced}
    made = []
    for pod in old:
        hashed = dict(pod.labels).get(TEMPLATE_HASH, "")
        base, seed = f"{controller.name}-{hashed}-", f"{controller.namespace}/{controller.name}/{hashed}"
        names = (generated(base, f"{seed}/{number}") for number in count())
        chosen = next(one for one in names if one not in taken)
        taken.add(chosen)
        made.append(_fresh(renamed(pod, chosen, new)))
    return made


def _fresh(pod: Pod) -> Pod:
    document = {part: value for part, value in pod.document.items() if part != "status"}
    return replace(pod, assigned=None, ready=True, finished=False, document=document)


def _in_order(new: Lab, pods: Mapping[str, Sequence[Pod]]) -> list[Pod]:
    """All pods of the lab, each controller's where its pods stand."""
    made: list[Pod] = []
    left = dict(pods)
    for pod in new.all_pods:
        if pod.owner not in pods:
            made.append(pod)
        elif pod.owner in left:
            made += left.pop(pod.owner)
    return [*made, *(pod for some in left.values() for pod in some)]


def _within_room(lab: Lab, kept: Lab) -> Lab:
    """The lab without new pods of controllers for which their nodes have no addresses yet."""
    had = {key(pod): pod.node for pod in kept.pods}
    rooms = {one.name: one.pod_cidr.num_addresses - len(_reserved(lab, one.name)) for one in lab.nodes}
    load = Counter(had.values()) + Counter(pod.node for pod in lab.pods if key(pod) not in had and not pod.owner)
    stay = []
    for pod in lab.pods:
        if key(pod) not in had and pod.owner:
            load[pod.node] += 1
            if load[pod.node] > rooms[pod.node] and _is_rolling(lab, pod.owner):
                continue
        stay.append(pod)
    return lab if len(stay) == len(lab.pods) else replace(lab, pods=tuple(stay))


def _reserved(lab: Lab, node: str) -> Collection[object]:
    cidr = next(one.pod_cidr for one in lab.nodes if one.name == node)
    return RULES[lab.plugin].reserved(cidr, lab.encapsulation)


def _is_rolling(lab: Lab, owner: str) -> bool:
    controller = next(one for one in lab.controllers if one.owner_name == owner)
    return any(not is_updated(pod, controller) for pod in _owned(controller, lab.all_pods))
