"""Carries allocated values of a running lab over into its new desired state: a new pod renumbers no other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab.allocate import allocate
from nslab.lab.cron_jobs import with_status
from nslab.lab.defaults import host_name, uid
from nslab.lab.jobs import with_same_jobs
from nslab.lab.network_rules import RULES
from nslab.lab.node_selector import admitted, labelled
from nslab.lab.replicas import names
from nslab.lab.termination import key
from nslab.lab.types import DAEMON_SET

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab


def merge_status(new: Lab, kept: Lab) -> Lab:
    """The new lab with the allocated values of the kept one.

    A pod of the same name on the same node keeps its uid. It keeps its address if that is in the node's podCIDR, not
    reserved there, and no other pod requests it. A replica keeps its node if there is room. Each node's allocator
    continues where it stopped. Services keep their values, unless another Service requests them.
    """
    new = _replicas_stay(_with_successors(with_same_jobs(with_status(new, kept), kept), kept), kept)
    before = {(pod.namespace, pod.name, pod.node): pod for pod in kept.pods}
    taken = {pod.requested or pod.assigned for pod in new.pods} | {pod.uid for pod in new.pods}
    cidrs = {node.name: node.pod_cidr for node in new.nodes}
    back = {name: RULES[new.plugin].reserved(cidr, new.encapsulation) for name, cidr in cidrs.items()}

    def merged(pod: Pod) -> Pod:
        had, name = before.get((pod.namespace, pod.name, pod.node)), f"{pod.namespace}/{pod.name}"
        if had is None or new.replaced.count(name) > kept.replaced.count(name):
            return pod
        uid = pod.uid if had.uid in taken else had.uid
        assigned = had.assigned if not had.host_network and keeps(pod, had.assigned) else pod.assigned
        return replace(pod, uid=uid, assigned=assigned, ready=had.ready)

    def keeps(pod: Pod, had: IPv4Address | None) -> bool:
        if had is not None and RULES[new.plugin].by_exec and new.cni == kept.cni:
            return had not in taken or had in (
                pod.requested,
                pod.assigned,
            )  # plugins decide: any address is valid
        if had is None or had not in cidrs[pod.node] or had in back[pod.node]:
            return False
        return had == pod.requested or (not pod.requested and had not in taken)

    known = dict(new.last_reserved)
    known |= {name: at for name, at in kept.last_reserved if name in cidrs and at in cidrs[name]}
    new = replace(new, pods=tuple(map(merged, new.pods)), last_reserved=tuple(known.items()))
    return allocate(new, kept.services)


def with_released(new: Lab, kept: Lab) -> Lab:
    """The new lab, which knows the addresses of pods that the kept one had and it has not."""
    held = {pod.assigned for pod in new.pods}
    freed = (pod.assigned for pod in kept.pods if pod.assigned and pod.assigned not in held and not pod.host_network)
    return replace(new, released=tuple(dict.fromkeys((*kept.released, *freed))))


def _with_successors(new: Lab, kept: Lab) -> Lab:
    """The new lab; if it comes from a file, its controllers' pods are the successors of those that were deleted."""
    if new.replaced or not kept.replaced:
        return new
    nodes, gone = labelled(new.nodes), {*kept.replaced}
    successors: dict[tuple[str, str], Pod] = {}
    for one in new.controllers:
        mine = [pod for pod in new.all_pods if pod.owner == one.owner_name and not pod.deletion]
        if gone & {f"{pod.namespace}/{pod.name}" for pod in mine}:
            every = zip(mine, names(one, admitted(one.template, nodes), kept.replaced), strict=True)
            successors |= {key(pod): renamed(pod, name, kept) for pod, name in every}
    pods, pending = (tuple(successors.get(key(pod), pod) for pod in some) for some in (new.pods, new.pending))
    return replace(new, pods=pods, pending=pending, replaced=kept.replaced)


def renamed(pod: Pod, name: str, lab: Lab) -> Pod:
    """A pod under its successor's name. `lab`: knows how often that name was there."""
    hostname = host_name(name) if pod.hostname == host_name(pod.name) else pod.hostname
    document = {**pod.document, "metadata": {**pod.document.get("metadata", {}), "name": name}}
    number = uid(lab.name, pod.namespace, name, lab.replaced)
    return replace(pod, name=name, hostname=hostname, uid=number, document=document)


def _replicas_stay(new: Lab, kept: Lab) -> Lab:
    """The new lab, in which replicas whose template names no node stay on their nodes, if it still admits these."""
    labels, nodes = labelled(new.nodes), {node.name: node for node in new.nodes}
    free = {
        one.owner_name: admitted(one.template, labels)
        for one in new.controllers
        if not one.template.node and one.kind != DAEMON_SET
    }
    old_nodes = {
        (pod.namespace, pod.name): pod.node
        for pod in kept.pods
        if pod.owner in free and pod.node in (free[pod.owner] or nodes)
    }
    moved = tuple(
        replace(pod, node=old_nodes.get((pod.namespace, pod.name), pod.node)) if pod.owner in free else pod
        for pod in new.pods
    )
    for name, count in Counter(pod.node for pod in moved if not pod.host_network).items():
        cidr = nodes[name].pod_cidr
        if count > cidr.num_addresses - len(RULES[new.plugin].reserved(cidr, new.encapsulation)):
            return new
    return replace(new, pods=moved)
