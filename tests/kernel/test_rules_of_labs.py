"""A running lab's own dump and its State, evaluated: the same rules match, and nothing is unknown."""

from __future__ import annotations

import subprocess
from itertools import product
from typing import TYPE_CHECKING

import pytest

from nslab.compiler import compile_lab
from nslab.objects.needs import FULL
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.from_state import node_addresses, node_rules
from nslab.trace.rules.packet import TCP, UDP, HookPacket
from nslab.trace.rules.ruleset import read
from nslab.trace.topology import topology
from tests.kernel.labkit import OwnLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address
    from pathlib import Path

    from nslab.lab.types import Lab, Node
    from nslab.trace.rules.packet import HookOutcome

HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
DUMPS = (["iptables-save"], ["ipset", "save"], ["nft", "-j", "list", "ruleset"])


@pytest.mark.parametrize("shipped", ["calico-two-node", "services-nftables", "kubenet-two-node"])
def test_the_dump_of_a_node_is_evaluated_as_its_state(shipped: str, tmp_path: Path) -> None:
    own = OwnLab(tmp_path, shipped)
    try:
        own.up_here()
        lab = own.lab()
        state = compile_lab(lab, FULL)
        net = topology(state)
        for node in lab.nodes:
            ns = own.ns(node.name)
            local, written = node_addresses(net, ns), node_rules(one for one in state if one.ns == ns)
            dumped = read(*(output(ns, *argv) for argv in DUMPS))
            for packet, hook in product(packets(lab, node), HOOKS):
                seen, expected = (evaluate(ruleset, packet, hook, local) for ruleset in (dumped, written))
                assert [*map(told, seen)] == [*map(told, expected)], (packet, hook)
                assert not any(end.doubts for end in seen)
    finally:
        own.clear()


def output(ns: str, *argv: str) -> str:
    done = subprocess.run(["ip", "netns", "exec", ns, *argv], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def packets(lab: Lab, node: Node) -> Iterator[HookPacket]:
    """From pods and the node to Services and pods, marked and not, on the way in and out."""
    pods = [pod.assigned for pod in lab.pods if pod.assigned]
    ports = [(service.cluster_ip, port) for service in lab.services for port in service.ports if service.cluster_ip]
    ends: list[tuple[IPv4Address, int]] = [(address, port.port) for address, port in ports]
    ends += [(node.address, port.node_port) for _, port in ports if port.node_port]
    ends += [(address, 8080) for address in pods]
    for (destination, port), source, mark in product(ends, [*pods[:3], node.address], (0, 0x4000)):
        for protocol, iif in product((TCP, UDP), ("eth0", "")):
            yield HookPacket(source, destination, protocol, 40000, port, iif=iif, oif="eth0", mark=mark)


def told(end: HookOutcome) -> tuple[object, ...]:
    """Policies are left out: the dump has tables without rules, too."""
    steps = [(step.table, step.chain, step.number, step.result) for step in end.steps if step.number]
    return end.verdict, end.packet, end.chance, steps
