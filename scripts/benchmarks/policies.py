"""`scripts/bench policies`: a node of 500 pods, with its Felix as a real process, whose policies and pods change.

The restore program alone, which writes all rules of the same state, takes turns with it in the same run.
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
from nslab.policy.document import to_json
from nslab.policy.model import (
    Cluster,
    FelixNode,
    Namespace,
    NetworkPolicy,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
    WorkloadEndpoint,
)  # fmt: skip
from nslab.policy.render import sets_text
from nslab.ruletext.iptables import saved_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

PODS = 500
NODE = FelixNode("node", ("192.168.59.22",))
LIVE = 100.0
"""Milliseconds in which a change is enforced."""


def measure(rounds: int, say: Callable[[str], None]) -> list[Group]:
    """All figures of policies."""
    lab = f"bench-{os.getpid()}"
    samples: defaultdict[str, list[float]] = defaultdict(list)
    try:
        for number in range(rounds):
            say(f"a node of {PODS} pods, round {number + 1}")
            tidied()
            with Stage(lab) as stage:
                _changes(stage, samples)
    finally:
        owned.release(lab)
    rows = (
        ("whole", f"{PODS} pods, no policy: all written", None),
        ("one", "a policy for 25 pods comes", LIVE),
        ("all", "a policy for all pods comes", None),
        ("label", "a pod gets a label that a policy admits", LIVE),
        ("pod", "a pod comes", LIVE),
        ("gone", "the policies go", None),
        ("restore", "the restore program alone, all rules of it", None),
    )
    figures = tuple(Figure(name, tuple(samples[key]), below=below) for key, name, below in rows)
    return [Group("real processes: from the message to control until Felix has followed", figures)]


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
    samples["restore"].append(stage.alone(both))


def _pod(number: int) -> WorkloadEndpoint:
    address = f"20.96.{number // 250}.{number % 250 + 1}"
    return WorkloadEndpoint("default", f"pod-{number}", address, "node", (("app", f"a{number % 20}"),))


def _policy(name: str, *pods: Requirement) -> NetworkPolicy:
    client = PolicyPeer((Requirement("app", "In", ("client",)),))
    return NetworkPolicy("default", name, pods, ingress=(PolicyRule((client,), (PolicyPort("TCP", 8080),)),))


class Stage:
    """A node with its Felix, and control."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
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
        policy = to_json(cluster, [NODE])
        started = time.perf_counter()
        late = self.control.put((), expect={"felix": ["node"]}, policy=policy)
        if late or self.control.failed:
            sys.exit(f"Felix does not follow: {self.control.failed}")
        return (time.perf_counter() - started) * 1000

    def alone(self, cluster: Cluster) -> float:
        """Write all rules of a cluster into an empty namespace; returns the milliseconds of the restore."""
        items = felix.items(cluster, NODE)
        with self.spaces.throwaway():
            _fed(sets_text(items), "ipset", "restore")
            started = time.perf_counter()
            _fed(saved_text(items), f"{self.iptables}-restore", "--noflush")
            return (time.perf_counter() - started) * 1000


def _fed(text: str, program: str, *arguments: str) -> None:
    subprocess.run([restore.program(program), *arguments], input=text, text=True, check=True, capture_output=True)
