"""`scripts/bench policies`: a node of 500 pods, with its Felix as a real process, whose policies and pods change.

In iptables and in nftables, in turns; and with them the program alone which writes all rules of the same state.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Group
from benchmarks.machine import tidied
from nslab.api.selectors import Requirement
from nslab.linux import owned
from nslab.linux.netns import Namespaces, folder
from nslab.linux.observe.host import working_iptables
from nslab.linux.processes.agents import Agents
from nslab.linux.processes.control import ControlClient
from nslab.linux.rules import restore
from nslab.objects import process as objects
from nslab.objects.names import netns
from nslab.objects.plan import Add
from nslab.policy import felix
from nslab.policy.change import commands
from nslab.policy.document import to_json
from nslab.policy.model import (
    DATAPLANES,
    Cluster,
    FelixNode,
    Namespace,
    NetworkPolicy,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
    WorkloadEndpoint,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from nslab.ruletext.items import NodeCommand

PODS = 500
NODE = FelixNode("node", ("192.168.59.22",))
LIVE = 100.0
"""Milliseconds in which a change is enforced."""


def measure(rounds: int, say: Callable[[str], None]) -> list[Group]:
    """All figures of policies."""
    lab = f"bench-{os.getpid()}"
    samples = {dataplane: defaultdict[str, list[float]](list) for dataplane in DATAPLANES}
    try:
        for number in range(rounds):
            for dataplane in DATAPLANES:
                say(f"a node of {PODS} pods, {dataplane}, round {number + 1}")
                tidied()
                with Stage(lab, replace(NODE, dataplane=dataplane)) as stage:
                    _changes(stage, samples[dataplane])
    finally:
        owned.release(lab)
    return [_group(dataplane, found) for dataplane, found in samples.items()]


def _group(dataplane: str, samples: dict[str, list[float]]) -> Group:
    rows = (
        ("whole", f"{PODS} pods, no policy: all written", None),
        ("one", "a policy for 25 pods comes", LIVE),
        ("all", "a policy for all pods comes", None),
        ("label", "a pod gets a label that a policy admits", LIVE),
        ("pod", "a pod comes", LIVE),
        ("gone", "the policies go", None),
        ("alone", "the program alone, all rules of it", None),
    )
    figures = tuple(Figure(name, tuple(samples[key]), below=below) for key, name, below in rows)
    return Group(f"{dataplane}: from the message to control until Felix has followed", figures)


def _changes(stage: Stage, samples: defaultdict[str, list[float]]) -> None:
    bare = Cluster((), tuple(map(_pod, range(PODS))), (Namespace("default"),), ("20.96.0.0/12",))
    samples["whole"].append(stage.put(bare))
    one = replace(bare, policies=(_policy("one", Requirement("app", "In", ("a1",))),))
    samples["one"].append(stage.put(one))
    both = replace(one, policies=(*one.policies, _policy("all")))
    samples["all"].append(stage.put(both))
    first, *rest = both.workloads
    labelled = replace(both, workloads=(replace(first, labels=(("app", "client"),)), *rest))
    samples["label"].append(stage.put(labelled))
    samples["pod"].append(stage.put(replace(labelled, workloads=(*labelled.workloads, _pod(PODS)))))
    samples["gone"].append(stage.put(bare))
    samples["alone"].append(stage.alone(both))


def _pod(number: int) -> WorkloadEndpoint:
    address = f"20.96.{number // 250}.{number % 250 + 1}"
    return WorkloadEndpoint("default", f"pod-{number}", address, "node", (("app", f"a{number % 20}"),))


def _policy(name: str, *pods: Requirement) -> NetworkPolicy:
    client = PolicyPeer((Requirement("app", "In", ("client",)),))
    return NetworkPolicy("default", name, pods, ingress=(PolicyRule((client,), (PolicyPort("TCP", 8080),)),))


class Stage:
    """A node with its Felix, and control."""

    def __init__(self, lab: str, node: FelixNode) -> None:
        self.lab, self.node = lab, node
        self.spaces, self.agents, self.control = Namespaces(), Agents(lab, folder(lab)), ControlClient(lab)
        with self.spaces.throwaway():
            self.iptables = working_iptables()

    def __enter__(self) -> Self:
        owned.claim(self.lab)
        node, control = netns(self.lab, "node"), netns(self.lab, "control")
        self.spaces.create(node)
        self.spaces.create(control)
        settings = json.dumps({"node": "node", "iptables": self.iptables})
        processes = (objects.NodeAgent(node, node), objects.Control(control, control))
        self.agents.run([Add(obj) for obj in (*processes, objects.Felix(node, node, settings))])
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.agents.__exit__()
        self.spaces.__exit__()
        owned.release(self.lab)

    def put(self, cluster: Cluster) -> float:
        """Have Felix told; returns the milliseconds until it has followed."""
        policy = to_json(cluster, [self.node])
        started = time.perf_counter()
        late = self.control.put((), expect={"felix": ["node"]}, policy=policy)
        if late or self.control.failed:
            sys.exit(f"Felix does not follow: {self.control.failed}")
        return (time.perf_counter() - started) * 1000

    def alone(self, cluster: Cluster) -> float:
        """Write all rules of a cluster into an empty namespace; returns the milliseconds of the last program."""
        *sets, rules = commands({}, felix.items(cluster, self.node), self.iptables)
        with self.spaces.throwaway():
            for one in sets:
                _run(one)
            started = time.perf_counter()
            _run(rules)
            return (time.perf_counter() - started) * 1000


def _run(command: NodeCommand) -> None:
    program, *arguments = command.argv
    argv = [restore.program(program), *arguments]
    subprocess.run(argv, input=command.text, text=True, check=True, capture_output=True)
