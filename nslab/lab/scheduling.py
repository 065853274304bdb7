"""What the scheduler decides: the node of each pod that has none, or why no node takes it (pure)."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab.host_ports import PortsInUse, host_ports
from nslab.lab.network_rules import RULES
from nslab.lab.node_selector import admits, labelled
from nslab.lab.termination import key
from nslab.lab.types import DAEMON_SET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Network

    from nslab.api.pod_types import Pod
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.node_selector import Labels
    from nslab.lab.stream import Documents
    from nslab.lab.types import Lab

AFFINITY = "node(s) didn't match Pod's node affinity/selector", "Preemption is not helpful for scheduling"
PORTS = "node(s) didn't have free ports for the requested pod ports", "No preemption victims found for incoming pod"
"""Why a node does not take a pod, and why it would not if other pods left."""


class _Nodes:
    """What nodes with `labels` have left beside some pods. `rooms`: how many pods each has addresses for."""

    def __init__(self, labels: Mapping[str, Labels], rooms: Mapping[str, int], pods: Iterable[Pod]) -> None:
        there = [pod for pod in pods if pod.node]
        self._labels, self._rooms = labels, rooms
        self._ports, self.load = PortsInUse(there), Counter(pod.node for pod in there)

    def place(self, pod: Pod) -> Pod:
        """A pod on the node that takes it and has the fewest others; on none, if none does."""
        fit = [name for name, found in self._labels.items() if _obstacle(pod, name, found, self._ports) is None]
        if not fit:
            return pod
        least = min(fit, key=lambda name: (self.load[name] >= self._rooms[name], self.load[name]))
        self._ports.take(pod, least)
        self.load[least] += 1
        return replace(pod, node=least)


def schedule(found: Documents) -> None:
    """Assign nodes to pods without one: by requested address, else what fits, the fewest pods, the first node.

    A pod that no node takes has none.
    """
    waiting, nodes = [one for one in found.pods if not one.view.node], found.lab.nodes
    if not waiting or not nodes:
        return
    for one in waiting:
        if address := one.view.requested or one.view.assigned:
            holders = (node.name for node in nodes if node.pod_cidr and address in node.pod_cidr)
            one.view = replace(one.view, node=next(holders, ""))
    rooms = [room(found.lab, node.pod_cidr) for node in nodes]
    names = [node.name for node in nodes]
    there = _Nodes(labelled(nodes), dict(zip(names, rooms, strict=True)), (one.view for one in found.pods))
    for one in waiting:
        if _is_choosy(one.view) and not one.view.node:
            one.view = there.place(one.view)
    queue = [(there.load[name] >= rooms[i], there.load[name], i) for i, name in enumerate(names)]
    heapq.heapify(queue)
    for one in waiting:
        if not (one.view.node or _is_choosy(one.view)):
            _, count, index = queue[0]
            one.view = replace(one.view, node=names[index])
            heapq.heapreplace(queue, (count + 1 >= rooms[index], count + 1, index))


def with_waiting(lab: Lab) -> Lab:
    """The lab, in which pods that wait are on the nodes that now take them."""
    if not lab.pending:
        return lab
    rules = RULES[lab.plugin]
    rooms = {
        one.name: one.pod_cidr.num_addresses - len(rules.reserved(one.pod_cidr, lab.encapsulation)) for one in lab.nodes
    }
    there = _Nodes(labelled(lab.nodes), rooms, lab.pods)
    pods = [there.place(pod) for pod in lab.pending]
    placed, pending = (tuple(pod for pod in pods if bool(pod.node) is on_a_node) for on_a_node in (True, False))
    return replace(lab, pods=(*lab.pods, *placed), pending=pending)


def with_free_ports(lab: Lab, kept: Lab) -> Lab:
    """The lab, in which new pods wait whose host ports others have on their nodes, or have not given back yet.

    `kept`: the lab before. What names its node, as each pod of a DaemonSet does, waits for no other one.
    """
    had = {key(pod) for pod in kept.pods}
    new = [pod for pod in lab.pods if key(pod) not in had and any(host_ports(pod))]
    if not new:
        return lab
    pinned = {one.owner_name for one in lab.controllers if one.template.node or one.kind == DAEMON_SET}
    ports, waiting = PortsInUse(kept.pods), set[tuple[str, str]]()
    for pod in new:
        named = pod.owner in pinned if pod.owner else pod.document.get("spec", {}).get("nodeName")
        if named or ports.admits(pod, pod.node):
            ports.take(pod, pod.node)
        else:
            waiting.add(key(pod))
    pending = (replace(pod, node="", assigned=None) for pod in new if key(pod) in waiting)
    stay = tuple(pod for pod in lab.pods if key(pod) not in waiting)
    return replace(lab, pods=stay, pending=(*lab.pending, *pending))


def room(lab: LabDocument, cidr: IPv4Network | None) -> int:
    """The number of pods for which a podCIDR has addresses."""
    return cidr.num_addresses - len(lab.rules.reserved(cidr, lab.encapsulation)) if cidr else 0


def unschedulable(lab: Lab, pod: Pod) -> str:
    """The scheduler's message about a pod that no node of a lab takes."""
    ports, total = PortsInUse(lab.pods), len(lab.nodes)
    found = (_obstacle(pod, name, mine, ports) for name, mine in labelled(lab.nodes).items())
    reasons = Counter(obstacle for obstacle in found if obstacle)
    none = f"0/{total} nodes are available:"
    now, after = (", ".join(sorted(f"{count} {why[at]}" for why, count in reasons.items())) for at in (0, 1))
    return f"{none} {now}. no new claims to deallocate, preemption: {none} {after}."


def _is_choosy(pod: Pod) -> bool:
    """Whether some nodes may not take a pod."""
    return bool(pod.node_selector or pod.node_affinity or any(host_ports(pod)))


def _obstacle(pod: Pod, name: str, labels: Labels, ports: PortsInUse) -> tuple[str, str] | None:
    """Why a node with these labels does not take a pod; None if it does."""
    if not admits(pod, name, labels):
        return AFFINITY
    return None if ports.admits(pod, name) else PORTS
