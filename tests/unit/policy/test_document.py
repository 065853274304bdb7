"""What Felix is told says all that there is to say."""

from __future__ import annotations

import json
import os
import sys

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from policy_world import Case, cases, view

from nslab.dataclass import replace
from nslab.policy.document import from_json, to_json
from nslab.policy.model import Cluster, FelixNode, NamedPort, Namespace, WorkloadEndpoint

NODE = FelixNode("node1", ("192.168.59.22", "20.111.156.0"), "tunl0", ("192.168.59.23",), "3.28", ipvs=True)
POD = WorkloadEndpoint("x", "a", "20.96.0.2", "node1", (("pod", "a"),), "robot", (NamedPort("web", 80, "UDP"),))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_nothing_is_lost(case: Case) -> None:
    cluster = Cluster(tuple(map(view, case.policies)), pools=("20.96.0.0/12",))
    said = json.loads(json.dumps(to_json(cluster, [replace(NODE, name="other"), NODE])))
    assert from_json(said, "node1") == (cluster, NODE)


def test_of_pods_and_namespaces_either() -> None:
    cluster = Cluster((), (POD, WorkloadEndpoint("x", "b")), (Namespace("x", (("team", "a"),)), Namespace("y")))
    assert from_json(json.loads(json.dumps(to_json(cluster, [NODE]))), "node1") == (cluster, NODE)
