"""One name, one class: who reads a name knows which one is meant."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "nslab"

TWICE = {
    "Agent": "the kubelet; what its parts ask of it, each in a protocol of its own",
    "Host": "what this machine can do; a fixture's host",
    "Outcome": "of a probe; of a packet at the rules of a hook",
    "Packet": "one that the pytest plugin captured; one that rules are asked about",
    "Ruleset": "the kernel objects of nftables; all rules of a node, to be evaluated",
    "Sandbox": "the kernel's object; the kubelet's process",
    "Target": "of a packet that is traced; of a probe of the kubelet",
    "Service": "a view of the document; kube-proxy's and kube-dns's input, with endpoints",
    "Verdict": "of a probe of the kubelet; of rules on a packet",
}
"""The names that two classes share, and what each is."""


def test_no_other_name_is_of_two_classes() -> None:
    trees = [ast.parse(path.read_text(), str(path)) for path in ROOT.rglob("*.py")]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert {name for name, times in names.items() if times > 1} <= TWICE.keys()
