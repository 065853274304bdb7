"""How a node's new process takes over what an earlier one, which was killed, has left running or waiting."""

from __future__ import annotations

import os

from nslab import rundir
from nslab.components.kubelet import adopt, sandbox
from nslab.components.kubelet.container import Spec
from nslab.components.kubelet.container_manager import ContainerManager
from nslab.components.kubelet.crilog import attempts
from nslab.components.kubelet.status import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nslab.components.kubelet.adopt import Found
    from nslab.components.kubelet.agent import Kubelet
    from nslab.components.kubelet.status import Pods
    from nslab.components.runtime.node_context import NodeContext


def was_here(context: NodeContext) -> bool:
    """Whether an earlier process of this node left anything to take over."""
    return any(os.path.exists(f"{context.folder}{file}") for file in (rundir.PIDS, rundir.JOURNAL, rundir.STATUS))


def take_over(agent: Kubelet) -> None:
    """Adopt processes, and go on with containers that wait or end."""
    found, before = adopt.find(agent.context, agent.births.adopt()), read(agent.context)
    agent.attempts = attempts(f"{agent.context.folder}/{rundir.POD_LOGS}")
    agent.children.adopt(found.held)
    for pod in found.sandboxes:
        agent.sandboxes[pod.ns] = pod
        sandbox.name_netns(pod)
    _containers(agent, found, before)
    if before or found.sandboxes:
        agent.teller.changed()
    ordered = [life for life in agent.containers.values() if life.ordered]
    for life in ordered:
        agent.order.admits(life)
    if ordered:
        agent.order.go_on()
    if any("terminating" in status for status in before.values()):
        agent.endings.resume(before)
    agent.tunnels |= dict(found.tunnels)
    agent.daemons.adopt(found.daemons)


def _containers(agent: Kubelet, found: Found, before: Pods) -> None:
    """Those that run, then those that the node's journal has beside them."""
    requests, kept = agent.journal.recall(), adopt.kept(found)
    for spec, attempt, pid in found.containers:
        request, last = requests.pop((spec.ns, spec.container), None), kept.pop((spec.ns, spec.container), None)
        life = _manager(agent, Spec(**request) if request else spec, before)
        life.adopt(attempt, pid, last[1] if last else adopt.pipes(pid))
    for (ns, name), request in requests.items():
        if ns == agent.context.ns or ns in agent.sandboxes:
            _manager(agent, Spec(**request), before).resume(kept.pop((ns, name), None))
        else:
            agent.journal.remove(ns, name)
    adopt.let_go(agent.sandboxes, kept)


def _manager(agent: Kubelet, spec: Spec, before: Pods) -> ContainerManager:
    pod = agent.pod_of(spec.ns)
    past = before.get(f"{pod.namespace}/{pod.pod}", {}).get("containers", {}).get(spec.container)
    life = agent.containers[spec.ns, spec.container] = ContainerManager(agent, spec, pod, past)
    return life
