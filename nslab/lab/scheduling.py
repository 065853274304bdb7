"""What the scheduler decides: the node of each pod that has none, or why no node takes it (pure)."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab.host_ports import PortsInUse, host_ports
from nslab.lab.node_selector import admits, labelled

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from nslab.api.pod_types import Pod
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.node_selector import Labels
    from nslab.lab.stream import Documents
    from nslab.lab.types import Lab

AFFINITY = "node(s) didn't match Pod's node affinity/selector", "Preemption is not helpful for scheduling"
PORTS = "node(s) didn't have free ports for the requested pod ports", "No preemption victims found for incoming pod"
"""Why a node does not take a pod, and why it would not if other pods left."""


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
    load = Counter(one.view.node for one in found.pods)
    room_of = dict(zip((node.name for node in nodes), rooms, strict=True))
    labels, ports = labelled(nodes), PortsInUse(one.view for one in found.pods if one.view.node)
    for one in waiting:
        if _is_choosy(one.view) and not one.view.node:
            names = [name for name, mine in labels.items() if _obstacle(one.view, name, mine, ports) is None]
            if not names:
                continue
            least = min(names, key=lambda name: (load[name] >= room_of[name], load[name]))
            one.view = replace(one.view, node=least)
            ports.take(one.view, least)
            load[least] += 1
    queue = [(load[node.name] >= rooms[i], load[node.name], i) for i, node in enumerate(nodes)]
    heapq.heapify(queue)
    for one in waiting:
        if not (one.view.node or _is_choosy(one.view)):
            _, count, index = queue[0]
            one.view = replace(one.view, node=nodes[index].name)
            heapq.heapreplace(queue, (count + 1 >= rooms[index], count + 1, index))


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
