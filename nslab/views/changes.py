"""Differences in the cluster's terms: objects that are missing, wrong or surplus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of
from nslab.compiler.networks import network
from nslab.objects import names
from nslab.objects.base import Add, Remove
from nslab.objects.keys import is_object
from nslab.objects.process import Process
from nslab.objects.script import commands
from nslab.trace.words import trouble, up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, Plan, Step
    from nslab.objects.keys import Key


def changes(lab: Lab, plan: Plan) -> list[str]:
    """A line for each step of a repair plan, without steps that only follow from another one."""
    return [line for _, line in findings(lab, plan)]


def findings(lab: Lab, plan: Plan) -> list[tuple[KernelObject, str]]:
    """The same lines, each with the object that it is about."""
    made = {key for step in plan if isinstance(step, Add) for key in filter(is_object, step.obj.provides)}
    whose = _pods_and_nodes(lab)
    remade = {step.obj.key for step in plan if _tells_why(step, made)}
    told = (step for step in plan if _tells_why(step, made) or not _follows(step, made, remade))
    return [(step.obj, _line(step, whose)) for step in told]


def mending(plan: Plan) -> list[str]:
    """The shell commands of a repair plan; for processes, one call of `nslab up` at the end."""
    lines = [line for step in plan if not isinstance(step.obj, Process) for line in commands(step)]
    return lines + [up(step.obj).strip("`") for step in plan if isinstance(step.obj, Process)][:1]


def standing_still(
    stopped: Iterable[tuple[KernelObject, int]], ended: Iterable[tuple[str, str]] = (), *, idle: bool = False
) -> list[str]:
    """A line for each stopped process (SIGSTOP), with its pid, and for each node's that has `ended` by an error.

    `idle`: the process of the controllers is missing.
    """
    named = [(obj.host, obj.label.removeprefix("running "), pid) for obj, pid in stopped]
    lines = [f"{where}: {what} is stopped (process {pid})" for where, what, pid in named]
    lines += [ended_by(*one) for one in ended]
    return [*lines, *(["the lab has no process of its controllers (kube-controller-manager's)"] if idle else [])]


def ended_by(node: str, error: str) -> str:
    """A node's process that has ended, with its last words."""
    return f"{node}'s nslab-node process ended by an error: {error}"


def unwritten(failed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each Service that kube-proxies cannot serve, with the reason, and for what Felixes cannot write.

    "" stands for all Services of a node, "felix" for its policies.
    """
    nodes: dict[tuple[str, str], list[str]] = {}
    for node, reasons in failed.items():
        for key, why in reasons.items():
            nodes.setdefault((key, why), []).append(node)
    return [
        f"felix of {', '.join(listed)} cannot write its rules: {why}"
        if key == "felix"
        else f"kube-proxy of {', '.join(listed)} cannot serve {f'Service {key}' if key else 'Services'}: {why}"
        for (key, why), listed in nodes.items()
    ]


def _tells_why(step: Step, made: set[Key]) -> bool:
    """Whether the object is removed to be added again, and its message gives the reason."""
    return isinstance(step, Remove) and step.obj.tells_why and step.obj.key in made


def _follows(step: Step, made: set[Key], remade: set[Key]) -> bool:
    """Whether another line implies it: an object it requires is added, or it is only removed to be added again."""
    if isinstance(step, Add) and step.obj.key in remade:
        return True
    return any(key in made for key in step.obj.requires) or (isinstance(step, Remove) and step.obj.key in made)


def _line(step: Step, whose: dict[str, str]) -> str:
    """The finding, with the pod or node that an address or a veth belongs to."""
    owner = next((whose[word] for word in step.obj.stands_for if word in whose), "")
    return f"{trouble(step)}{f': the way to {owner}' if owner else ''}"


def _pods_and_nodes(lab: Lab) -> dict[str, str]:
    """The pod or node of each address, range and veth."""
    link = network(lab).pod_link
    found = {str(node.pod_cidr): f"the pods of {node.name}" for node in lab.nodes}
    found |= {f"{node.address}/32": node.name for node in lab.nodes}
    for pod in (pod for pod in lab.pods if not pod.host_network):
        host = f"pod {names.pod_host(pod.namespace, pod.name)}"
        found |= {f"{address_of(pod)}/32": host, link(pod): host}
    return found
