"""Who reaches whom: Felix's rules, and what probes expect, against the recorded cases and an evaluator of the API."""

from __future__ import annotations

import os
import sys
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from policy_oracle import End, Oracle
from policy_world import Case, World, cases, namespace_labels, recorded

from tests.slow import SLOW, often

PROBES = {f"{protocol[0]}{port}": (protocol, port) for protocol in ("TCP", "UDP") for port in (80, 81)}
OUTSIDE = "198.51.100.7"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_recorded_case(case: Case) -> None:
    """Real packets were denied between the same pods, on one node; here also with a node for each namespace."""
    oracle = Oracle(case.policies, namespace_labels())
    world, wide = (World(case.policies, case.pods, namespace_labels(), spread=spread) for spread in (False, True))
    for probe, (protocol, port) in PROBES.items():
        denied = set(case.denied.get("all", case.denied.get(probe, ())))
        for source, destination in permutations(case.pods, 2):
            asked = (source, destination, protocol, port)
            want = f"{source}>{destination}" not in denied
            assert oracle.allows(case.pods[source], case.pods[destination], protocol, port) == want, asked
            assert world.allows(*asked) == world.intends(*asked) == want, asked
            assert probe != "T80" or wide.allows(*asked) == want, asked


@pytest.mark.parametrize("case", cases()[:: 1 if SLOW else 3], ids=lambda case: case.name)
def test_rules_of_nftables_decide_the_same(case: Case) -> None:
    world = World(case.policies, case.pods, namespace_labels(), dataplane="nftables")
    for protocol, port in PROBES.values():
        for source, destination in permutations(case.pods, 2):
            asked = (source, destination, protocol, port)
            assert world.allows(*asked) == world.intends(*asked), asked


@pytest.mark.parametrize("version", ["3.28", "3.32"])
def test_other_releases_decide_the_same(version: str) -> None:
    for case in cases()[::8]:
        old, new = (World(case.policies, case.pods, namespace_labels(), version=one) for one in (version, "3.30"))
        for source, destination in permutations(case.pods, 2):
            asked = (source, destination, "TCP", 80)
            assert old.allows(*asked) == new.allows(*asked)


NAMES, KEYS, VALUES = "xyz", ("pod", "ns", "tier"), ("a", "b", "x", "y")


def expressions() -> st.SearchStrategy[dict[str, Any]]:
    key, values = st.sampled_from(KEYS), st.lists(st.sampled_from(VALUES), min_size=1, max_size=2)
    listed = st.fixed_dictionaries({"key": key, "operator": st.sampled_from(("In", "NotIn")), "values": values})
    bare = st.fixed_dictionaries({"key": key, "operator": st.sampled_from(("Exists", "DoesNotExist"))})
    return listed | bare


def selectors() -> st.SearchStrategy[dict[str, Any]]:
    labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=1)
    return st.fixed_dictionaries(
        {}, optional={"matchLabels": labels, "matchExpressions": st.lists(expressions(), max_size=2)}
    )


def peers() -> st.SearchStrategy[dict[str, Any]]:
    excepts = st.lists(st.sampled_from(("10.65.0.16/28", "10.65.0.2/32", "198.51.100.0/24")), max_size=3)
    block = st.fixed_dictionaries({"cidr": st.just("0.0.0.0/0")}, optional={"except": excepts})
    small = st.sampled_from(({"cidr": "10.65.0.0/27"}, {"cidr": "10.65.0.32/28"}, {"cidr": "fd00::/8"}))
    some = st.fixed_dictionaries({"podSelector": selectors()}, optional={"namespaceSelector": selectors()})
    spaces = st.fixed_dictionaries({"namespaceSelector": selectors()})
    return some | spaces | st.fixed_dictionaries({"ipBlock": block | small})


def ports() -> st.SearchStrategy[dict[str, Any]]:
    protocol = {"protocol": st.sampled_from(("TCP", "UDP", "SCTP"))}
    some = {"port": st.sampled_from((80, 81, 90, "serve-80-tcp", "serve-81-udp", "nobodys"))}
    spans = {"port": st.just(79), "endPort": st.sampled_from((79, 80, 90))}
    many = st.sampled_from(range(100, 160, 2)).map(lambda port: {"port": port})
    one = st.fixed_dictionaries({}, optional={**protocol, **some})
    return one | st.fixed_dictionaries(spans, optional=protocol) | many


def rules(ends: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    lists = {ends: st.lists(peers(), max_size=3), "ports": st.lists(ports(), max_size=4) | st.just(MANY)}
    return st.lists(st.fixed_dictionaries({}, optional=lists), max_size=2)


MANY = [{"port": port} for port in range(41, 81, 2)] + [{"port": 80}, {"port": "serve-81-tcp"}]
"""More ports than one match takes."""


def policies() -> st.SearchStrategy[list[dict[str, Any]]]:
    spec = st.fixed_dictionaries(
        {"podSelector": selectors()},
        optional={
            "policyTypes": st.lists(st.sampled_from(("Ingress", "Egress")), max_size=2),
            "ingress": rules("from"),
            "egress": rules("to"),
        },
    )
    one = st.tuples(st.sampled_from(NAMES), spec)
    return st.lists(one, min_size=1, max_size=9).map(
        lambda some: [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": f"p{number}", "namespace": namespace},
                "spec": spec,
            }
            for number, (namespace, spec) in enumerate(some)
        ]
    )


@given(policies(), st.booleans(), st.data())
@settings(deadline=None, max_examples=often(120))
def test_any_policies(documents: list[dict[str, Any]], spread: bool, data: st.DataObject) -> None:
    more = data.draw(st.dictionaries(st.sampled_from(("xa", "yb")), st.just({"tier": "x"}), max_size=2))
    pods = {
        key: End(pod["ip"], pod["namespace"], {**pod["labels"], **more.get(key, {})}, PORTS_OF[key[1]])
        for key, pod in recorded()["pods"].items()
        if key in FEW
    }
    oracle, world = (
        Oracle(documents, namespace_labels()),
        World(documents, pods, namespace_labels(), spread=spread),
    )
    known = {**pods, OUTSIDE: End(OUTSIDE)}
    for source, destination in permutations(known, 2):
        for probe in (("TCP", 80), ("UDP", 81), ("SCTP", 80)) if source < destination else (("TCP", 81), ("UDP", 80)):
            want = oracle.allows(known[source], known[destination], *probe)
            asked = (source, destination, *probe)
            assert world.allows(*asked) == world.intends(*asked) == want, asked


FEW = ("xa", "xb", "xc", "ya", "yb", "za")
PORTS_OF: dict[str, dict[tuple[str, str], int]] = {
    "a": {("serve-80-tcp", "TCP"): 80, ("serve-81-udp", "UDP"): 81},
    "b": {("serve-80-tcp", "TCP"): 81, ("serve-81-udp", "TCP"): 80},
    "c": {},
}
"""Pods give the same names to different ports."""
