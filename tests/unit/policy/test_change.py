"""What Felix writes after a change: what differs, sets before the rules that match them."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from policy_world import cases, ends, namespace_labels, recorded, view

from nslab.policy import felix
from nslab.policy.change import commands
from nslab.policy.model import Cluster, FelixNode, Namespace, WorkloadEndpoint
from nslab.policy.render import render
from tests.slow import often

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

NODE = FelixNode("node1", ("192.168.59.22",))
PROGRAM = "iptables-legacy"


def items(case: str = "", *gone: str) -> Items:
    """What Felix writes for a recorded case (none: without policies), without some pods."""
    policies = next((one.policies for one in cases() if one.name == case), [])
    pods = ends(recorded()["pods"], {})
    workloads = tuple(
        WorkloadEndpoint(pod.namespace, name, pod.ip, "node1", tuple(pod.labels.items()))
        for name, pod in pods.items()
        if name not in gone
    )
    spaces = tuple(Namespace(name, tuple(labels.items())) for name, labels in namespace_labels().items())
    return felix.items(Cluster(tuple(map(view, policies)), workloads, spaces), NODE)


def test_nothing_differs() -> None:
    assert commands(items("xa-pod-in-b"), items("xa-pod-in-b"), PROGRAM) == ()


def test_a_policy_comes_and_goes() -> None:
    before, after = items(), items("xa-pod-in-b")
    (tw,) = {item[2] for item in after if item[0] == "chain" and before.get(item, ()) != after[item] and item in before}
    (pi,) = {item[2] for item in after if item[0] == "chain" and item not in before}
    (own,) = {item[1] for item in after if item[0] == "ipset" and item not in before}
    sets, rules = commands(before, after, PROGRAM)
    assert sets.argv == ("ipset", "-exist", "restore")
    assert sets.text.splitlines() == [
        f"create {own} hash:net family inet hashsize 1024 maxelem 1048576",
        f"add {own} 10.65.0.2",
    ]
    assert rules.argv == ("iptables-legacy-restore", "--noflush", "--wait")
    first, *lines = rules.text.splitlines()
    assert (first, lines[-1]) == ("*filter", "COMMIT")
    assert {line.split()[1] for line in lines if line.startswith("-A")} == {tw, pi}
    assert {line for line in lines if line.startswith(":")} == {f":{tw} - [0:0]", f":{pi} - [0:0]"}
    rules, sets = commands(after, before, PROGRAM)
    assert f"-X {pi}" in rules.text.splitlines()
    assert sets.text == f"destroy {own}\n"


def test_a_pod_that_goes_leaves_the_sets() -> None:
    before, after = items("xa-pod-in-b"), items("xa-pod-in-b", "xb")
    *_, sets = commands(before, after, PROGRAM)
    assert re.fullmatch(r"del cali40s:\S+ 10\.65\.0\.2\n", sets.text)


class Kernel:
    """What the programs make of their input, as far as Felix uses them; it refuses what they would refuse."""

    def __init__(self) -> None:
        self.sets: dict[str, set[str]] = {}
        self.chains: dict[tuple[str, str], list[str]] = {}

    def run(self, program: str, text: str) -> None:
        table = ""
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            name, _, more = rest.partition(" ")
            if program == "ipset":
                self._set(word, name, more)
            elif line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                self.chains[table, word[1:]] = []
            elif word == "-X":
                assert not self.chains.pop((table, name))
                assert not any(name in rule.split() for rules in self.chains.values() for rule in rules)
            elif word in ("-A", "-I", "-D"):
                self._rule(word, self.chains.setdefault((table, name), []), more)
        for rules in self.chains.values():
            for rule in rules:
                assert {*re.findall("--match-set (\\S+)", rule)} <= self.sets.keys(), rule

    def _rule(self, word: str, chain: list[str], rule: str) -> None:
        if word == "-I":
            chain.insert(0, rule.removeprefix("1 "))
        elif word == "-D":
            chain.remove(rule)
        else:
            chain.append(rule)

    def _set(self, word: str, name: str, more: str) -> None:
        if word == "create":
            self.sets.setdefault(name, set())
        elif word == "destroy":
            assert not any(name in rule.split() for rules in self.chains.values() for rule in rules)
            del self.sets[name]
        elif word == "add":
            self.sets[name].add(more)
        else:
            self.sets[name].remove(more)


NAMES = [case.name for case in cases()]
STATES = st.tuples(st.sampled_from(("", *NAMES)), st.sets(st.sampled_from(("xa", "xb", "yc"))))


@given(st.lists(STATES, min_size=2, max_size=4))
@settings(deadline=None, max_examples=often(80))
def test_changes_end_where_a_whole_write_ends(states: list[tuple[str, set[str]]]) -> None:
    kernel, before = Kernel(), {}
    for case, gone in states:
        after = items(case, *gone)
        for command in commands(before, after, PROGRAM):
            kernel.run(command.argv[0], command.text)
        before = after
    fresh = Kernel()
    sets, rules = render(before).split("\n# iptables-restore --noflush\n")
    fresh.run("ipset", sets.removeprefix("# ipset restore\n"))
    fresh.run("iptables", rules)
    assert (kernel.sets, kernel.chains) == (fresh.sets, fresh.chains)
