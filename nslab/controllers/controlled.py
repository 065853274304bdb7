"""The pods that a lab's controllers have after their next step. Pure.

A lab in which every controller has all the pods that it is to have in the end becomes one on the way there: pods that
exist stay what they were made from, until their controller (nslab.controllers.rollout) ends them.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

from nslab.api.suffix import generated
from nslab.controllers.rollout import (
    ON_DELETE,
    Decision,
    Replica,
    decide,
    is_ordered,
    is_rolling,
    last_surplus,
    ordinal,
    partition,
)
from nslab.controllers.scaling import new_sizes, resized, template_hash_of
from nslab.dataclass import replace
from nslab.lab.history import earlier_replica_sets
from nslab.lab.jobs import JOB
from nslab.lab.network_rules import RULES
from nslab.lab.node_selector import admitted, labelled
from nslab.lab.replica_sets import revision
from nslab.lab.scheduling import with_free_ports
from nslab.lab.status import renamed
from nslab.lab.termination import key
from nslab.lab.types import DAEMON_SET
from nslab.lab.views import owner_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Controller, Lab, Node

    Report = Mapping[str, Mapping[str, Any]]
    Key = tuple[str, str]


def stepped(new: Lab, kept: Lab, report: Report, now: float) -> Lab:
    """The new lab after one step of its controllers.

    `new`: with all their pods, of their present templates; `kept`: as it is; `report`: of its nodes, by NAMESPACE/NAME
    (`ready`, and `since` when); `now`: in seconds since 1970.
    """
    before = {one.owner_name: one for one in (*filter(is_ordered, new.controllers), *kept.controllers)}
    targets, existing, leaving = by_owner(new.all_pods), by_owner(kept.all_pods), _leaving(kept)
    times = Counter(kept.replaced)
    deleted = {one for one, number in Counter(new.replaced).items() if number > times[one]}
    pods: dict[str, list[Pod]] = {}
    replaced = list(new.replaced)
    for one in new.controllers:
        owner = one.owner_name
        if one.kind != JOB and owner in before:
            target = {key(pod): pod for pod in targets.get(owner, ())}
            mine = existing.get(owner, [])
            stay = [pod for pod in mine if name(pod) not in deleted]
            stay += _successors(one, [pod for pod in mine if name(pod) in deleted], mine, new)
            there = _replicas(one, stay, report, now)
            there, decision = _decided(one, before[owner], there, target, leaving.get(owner, ()))
            pods[owner] = [*_pods(one, there, target, decision), *_again(one, decision.again, mine, new)]
            replaced += map(name, decision.end)
    every = _in_order(new, pods)
    placed, pending = (tuple(pod for pod in every if bool(pod.node) is on_a_node) for on_a_node in (True, False))
    made = _within_room(replace(new, pods=placed, pending=pending, replaced=tuple(replaced)), kept)
    made = with_free_ports(made, kept)
    return replace(made, replica_sets=(*earlier_replica_sets(made, kept),))


def begun(lab: Lab) -> Lab:
    """The lab as its controllers begin to make it where nothing is yet. `lab`: with all their pods."""
    return stepped(lab, replace(lab, controllers=(), pods=(), pending=(), replica_sets=()), {}, 0.0)


def wakes(lab: Lab, report: Report, now: float) -> float:
    """When the next pod becomes available by its age alone, in seconds since 1970; infinity: none does."""
    times = (
        report.get(name(pod), {}).get("since", 0.0) + minimum
        for one in unfinished(lab)
        if (minimum := min_ready(one))
        for pod in by_owner(lab.all_pods).get(one.owner_name, ())
        if report.get(name(pod), {}).get("ready")
    )
    return min((time for time in times if time > now), default=float("inf"))


def unfinished(lab: Lab) -> list[Controller]:
    """The controllers whose pods of an earlier template, or surplus ones, are to go, or of which pods are to come.

    Without Jobs.
    """
    pods, nodes = by_owner(lab.all_pods), labelled(lab.nodes)

    def is_so(one: Controller) -> bool:
        there = _replicas(one, pods.get(one.owner_name, ()), {}, 0.0)
        wanted = len(admitted(one.template, nodes)) if one.kind == DAEMON_SET else one.replicas
        return is_rolling(one, there) or len(there) < wanted or (is_ordered(one) and len(there) > wanted)

    return [one for one in lab.controllers if one.kind != JOB and is_so(one)]


def is_available(pod: Pod, controller: Controller, report: Report, now: float) -> bool:
    """Whether a pod has been ready for its controller's minReadySeconds."""
    seen = report.get(name(pod), {})
    return bool(seen.get("ready")) and now >= seen.get("since", 0.0) + min_ready(controller)


def is_updated(pod: Pod, label: Mapping[str, str]) -> bool:
    """Whether a pod has its controller's present template, whose pods have this `label` (see `revision`)."""
    return label.items() <= dict(pod.labels).items()


def by_owner(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    """The pods of each controller, by its `owner_name`; a pod that terminates belongs to none."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        if pod.owner:
            found.setdefault(pod.owner, []).append(pod)
    return found


def min_ready(controller: Controller) -> int:
    """How many seconds a pod must have been ready to be available."""
    return int(controller.document.get("spec", {}).get("minReadySeconds") or 0)


def name(pod: Pod) -> str:
    """NAMESPACE/NAME."""
    return f"{pod.namespace}/{pod.name}"


def _leaving(lab: Lab) -> dict[str, list[Pod]]:
    """The pods that terminate, by the controller that they belonged to."""
    found: dict[str, list[Pod]] = {}
    for pod in lab.pods:
        if pod.deletion and (owner := owner_of(pod.document, pod.namespace)):
            found.setdefault(owner, []).append(pod)
    return found


def _replicas(controller: Controller, pods: Iterable[Pod], report: Report, now: float) -> list[Replica]:
    label = revision(controller)
    return [Replica(pod, is_updated(pod, label), is_available(pod, controller, report, now)) for pod in pods]


def _decided(
    one: Controller, was: Controller, there: list[Replica], target: Mapping[Key, Pod], leaving: Collection[Pod]
) -> tuple[list[Replica], Decision]:
    """The existing pods that a controller still wants, and what it does next. `was`: how it was before.

    An ordered StatefulSet that scales down does nothing else.
    """
    wanted = _scaled_down(there, target, leaving) if is_ordered(one) else _wanted(one, there, target)
    if is_ordered(one) and len(wanted) < len(there):
        return wanted, Decision()
    missing = _missing(wanted, target)
    if sizes := new_sizes(one, was, there):
        return wanted, resized(sizes, wanted, missing)
    return wanted, decide(one, wanted, missing, leaving)


def _missing(there: Iterable[Replica], target: Mapping[Key, Pod]) -> list[Pod]:
    known = {key(one.pod) for one in there}
    return [pod for one, pod in target.items() if one not in known]


def _pods(controller: Controller, there: Sequence[Replica], target: Mapping[Key, Pod], decided: Decision) -> list[Pod]:
    """A controller's pods after the step."""
    ends = {key(pod) for pod in decided.end}
    stay = {key(one.pod): _as_wanted(one, target) for one in there if key(one.pod) not in ends}
    stay |= {key(pod): pod for pod in decided.make}
    others = [one for one in stay if one not in target]
    order = (*target, *others) if controller.kind == "StatefulSet" else (*others, *target)
    return [stay[one] for one in order if one in stay]


def _as_wanted(one: Replica, target: Mapping[Key, Pod]) -> Pod:
    """A pod that stays: as it was made, or (of the present template) with what has changed around it."""
    return target.get(key(one.pod), one.pod) if one.updated else one.pod


def _wanted(controller: Controller, pods: list[Replica], target: Mapping[Key, Pod]) -> list[Replica]:
    """The existing pods without those that scaling down, or a node's new labels, have taken away."""
    if controller.kind == DAEMON_SET:
        nodes = {pod.node for pod in target.values()}
        return [one for one in pods if one.pod.node in nodes]
    if controller.kind == "Deployment":
        return [one for one in pods if key(one.pod) in target or not one.updated]
    if controller.kind == "StatefulSet":
        return [one for one in pods if key(one.pod) in target]
    surplus = max(0, len(pods) - controller.replicas)
    gone = [key(one.pod) for one in reversed(pods) if key(one.pod) not in target][:surplus]
    return [one for one in pods if key(one.pod) not in gone]


def _scaled_down(pods: list[Replica], target: Mapping[Key, Pod], leaving: Collection[Pod]) -> list[Replica]:
    """The existing pods of a StatefulSet without the last surplus one, if it may end now."""
    last = last_surplus(pods, {pod.name for pod in target.values()}, [*_missing(pods, target), *leaving])
    return [one for one in pods if one.pod != last]


def _successors(controller: Controller, deleted: list[Pod], mine: list[Pod], new: Lab) -> list[Pod]:
    """Pods of an earlier template in place of deleted ones: their ReplicaSet, or the partition, wants them."""
    if not deleted:
        return []
    label = revision(controller)
    if controller.kind == "StatefulSet":
        strategy = controller.document["spec"].get("updateStrategy") or {}
        keep = partition(controller) if strategy.get("type") != ON_DELETE else 0
        old = [pod for pod in deleted if ordinal(pod) < keep and not is_updated(pod, label)]
        return [_fresh(renamed(pod, pod.name, new)) for pod in old]
    old = [pod for pod in deleted if controller.kind == "Deployment" and not is_updated(pod, label)]
    return _again(controller, old, mine, new)


def _again(deployment: Controller, old: Iterable[Pod], mine: Iterable[Pod], new: Lab) -> list[Pod]:
    """Further pods as these, with names of their own. `mine`: all that the Deployment has had."""
    taken = {pod.name for pod in mine} | {one.partition("/")[2] for one in new.replaced}
    made = []
    for pod in old:
        hashed = template_hash_of(pod)
        base, seed = f"{deployment.name}-{hashed}-", f"{deployment.namespace}/{deployment.name}/{hashed}"
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
    had = {key(pod): pod.node for pod in kept.pods if not pod.host_network}
    rooms = {one.name: _room(lab, one) for one in lab.nodes}
    load = Counter(had.values()) + Counter(
        pod.node for pod in lab.pods if key(pod) not in had and not (pod.owner or pod.host_network)
    )
    stay, rolling = [], frozenset[str]()
    for pod in lab.pods:
        if key(pod) not in had and pod.owner and not pod.host_network:
            load[pod.node] += 1
            if load[pod.node] > rooms[pod.node]:
                rolling = rolling or _rolling(lab)
                if pod.owner in rolling:
                    continue
        stay.append(pod)
    return lab if len(stay) == len(lab.pods) else replace(lab, pods=tuple(stay))


def _room(lab: Lab, node: Node) -> int:
    """How many pods a node has addresses for."""
    return node.pod_cidr.num_addresses - len(RULES[lab.plugin].reserved(node.pod_cidr, lab.encapsulation))


def _rolling(lab: Lab) -> frozenset[str]:
    """The controllers with pods of an earlier template."""
    pods, labels = by_owner(lab.all_pods), {one.owner_name: revision(one) for one in lab.controllers}
    return frozenset(
        owner for owner, mine in pods.items() if not all(is_updated(pod, labels.get(owner, {})) for pod in mine)
    )
