"""No network plugin: pods with loopback alone, on nodes that forward nothing. The rest somebody makes by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import pod_netns
from nslab.lab.types import Plugin
from nslab.objects import names
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import Host


def bare(lab: Lab, _host: Host) -> Iterator[KernelObject]:
    """What is there before a plugin is called: the runtime has made the pods' namespaces, and no more."""
    for node in lab.nodes:
        # A new namespace inherits the machine's own setting: where Docker runs, it would forward by chance.
        yield Sysctl(names.netns(lab.name, node.name), "net/ipv4/ip_forward", "0", "0", by="the machines")
        for pod in lab.pods:
            if pod.node == node.name:
                yield Netns(pod_netns(lab, pod), by="kubelet")
                yield LinkUp(pod_netns(lab, pod), "lo", by="container runtime")


def by_hand(lab: Lab, have: Iterable[KernelObject], known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """Of what is there: what the lab answers for, and what is its learner's, which nobody mends or takes away.

    His is what no wish ever named (`known`: all that one did), on nodes and in pods. Settings are his from their first
    value on: they count as the lab wants them.
    """
    if lab.plugin is not Plugin.NONE:
        return [*have], []
    places = {names.netns(lab.name, node.name) for node in lab.nodes} | {pod_netns(lab, pod) for pod in lab.pods}
    named = {obj.key: obj for obj in known}
    ours: list[KernelObject] = []
    his: list[KernelObject] = []
    for obj in have:
        if obj.ns in places and obj.by_anybody and obj.key not in named:
            his.append(obj)
        else:
            ours.append(named[obj.key] if obj.ns in places and isinstance(obj, Sysctl) else obj)
    return ours, his
