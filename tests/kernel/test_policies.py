"""NetworkPolicies on Calico's nodes: who reaches whom with real packets, and what changes while a lab runs."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "unit", "policy"))

from policy_oracle import Oracle
from policy_world import Case, cases, namespace_labels
from policywires import PODS, Servers, everything, text, without

from nslab.app.probe import probe
from nslab.app.trace import trace
from nslab.linux.netns import Namespaces
from nslab.pytest_plugin import LabRequest
from nslab.trace.hops import End
from nslab.views.matrix import cells, denials
from tests.kernel.labkit import until
from tests.slow import SLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root
SPREAD = ["IPIP", "VXLAN", "None"] if SLOW else ["IPIP"]
"""The encapsulations between three nodes."""
NFTABLES = "nftables"
PLACES = ["one", *SPREAD, NFTABLES]
"""All pods on one node, three nodes, and three with Calico's nftables and VXLAN."""
CASES = [(place, case) for place in PLACES for case in cases()[:: 1 if SLOW else 5]]


def document(case: Case, lab: str) -> str:
    """The lab's file with a case's policies and labels."""
    for pod, end in case.pods.items():
        if more := {key: value for key, value in end.labels.items() if key != "pod"}:
            one = f"  name: {pod[1]}\n  namespace: {pod[0]}\n  labels: {{pod: {pod[1]}"
            lab = lab.replace(one, f"{one}, {yaml.safe_dump(more, default_flow_style=True).strip()[1:-1]}")
    return lab + "".join(f"---\n{yaml.safe_dump(one)}" for one in case.policies)


@pytest.fixture(scope="module", params=PLACES)
def nodes(
    request: pytest.FixtureRequest, _module_labs: Callable[[LabRequest], RunningLab]
) -> Iterator[tuple[RunningLab, str, Servers]]:
    """A lab, its file without policies, and servers in its pods."""
    if request.param == NFTABLES:
        written = text("VXLAN", spread=True, dataplane=NFTABLES)
    else:
        written = text("IPIP", spread=False) if request.param == "one" else text(request.param, spread=True)
    lab = _module_labs(LabRequest(written, scope="module"))
    servers = Servers(lab)
    yield lab, written, servers
    servers.close()


@pytest.mark.parametrize(("nodes", "case"), CASES, indirect=["nodes"], ids=lambda one: getattr(one, "name", one))
def test_who_reaches_whom(nodes: tuple[RunningLab, str, Servers], case: Case) -> None:
    lab, written, servers = nodes
    oracle = Oracle(case.policies, namespace_labels())
    wanted = {one for one in everything() if oracle.allows(case.pods[one.source], case.pods[one.target], *one[2:])}
    assert wanted == without(case.denied), "the recorded case"
    lab.up(document(case, written))
    assert servers.arrived(wanted) == wanted
    assert lab.diff() == []


DENY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny", "namespace": "x"},
    "spec": {"podSelector": {"matchLabels": {"pod": "a"}}},
}


@pytest.fixture
def open_lab(nodes: tuple[RunningLab, str, Servers]) -> Iterator[RunningLab]:
    """The lab without policies, before a test and after it."""
    lab, written, _ = nodes
    lab.up(written)
    yield lab
    lab.up(written)
    assert lab.diff() == []


def test_an_established_connection_stays_and_no_new_one_comes(open_lab: RunningLab) -> None:
    lab = open_lab
    with Namespaces() as spaces:
        spaces.enter(lab.pod("x/a").netns)
        listener = socket.create_server((PODS["xa"], 7777))
        spaces.enter(lab.pod("y/a").netns)
        near = socket.create_connection((PODS["xa"], 7777), timeout=5)
    far, _ = listener.accept()
    assert lab.apply(yaml.safe_dump(DENY)) == ["networkpolicy.networking.k8s.io/deny created"]
    near.sendall(b"still")
    assert far.recv(5) == b"still"
    with Namespaces() as spaces:
        spaces.enter(lab.pod("y/a").netns)
        late = socket.socket()
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.connect((PODS["xa"], 7777))
    lab.delete("networkpolicy/deny", namespace="x")
    with Namespaces() as spaces:
        spaces.enter(lab.pod("y/a").netns)
        socket.create_connection((PODS["xa"], 7777), timeout=5).close()
    for one in (near, far, late, listener):
        one.close()


def test_probe_expects_what_policies_allow_and_names_them(open_lab: RunningLab) -> None:
    lab = open_lab
    lab.apply(yaml.safe_dump(DENY))
    found = probe(lab.name, ["y_a"], ["x_a", "x_b"])
    assert found.good
    assert cells(found.results) == {("y_a", "x_a"): "denied", ("y_a", "x_b"): "ok"}
    assert [*denials(found.results)] == ["  ingress of x_a, isolated by x/deny: denied from y_a"]
    journey = trace(lab.name, "y_a", "x_a")
    assert (journey.end, journey.deviation, journey.notes) == (
        End.DROPPED, "",
        ("ingress of x_a is isolated by x/deny, of which none allows it from y_a for port 80/TCP",),
    )  # fmt: skip


def test_what_somebody_takes_from_a_policy_is_mended(open_lab: RunningLab) -> None:
    lab = open_lab
    lab.apply(yaml.safe_dump(DENY))
    node = lab.pod("x/a").node
    if lab.desired.dataplane == NFTABLES:
        lab.sh(node, "nft flush chain ip calico filter-cali-pi-default/x/knp.default.deny")
    else:
        rules = lab.sh(node, "iptables-save")
        chain = next(line.split()[0][1:] for line in rules.splitlines() if line.startswith(":cali-pi-"))
        lab.sh(node, f"iptables -F {chain}")
    (found,) = lab.diff()
    assert "chain" in found
    assert "cali-pi-" in found
    assert found.endswith("(Felix's)")
    lab.mend()
    until(lambda: lab.diff() == [])


@pytest.mark.parametrize("nodes", [NFTABLES], indirect=True)
def test_the_dataplane_changes_while_the_lab_runs(open_lab: RunningLab) -> None:
    lab = open_lab
    lab.up(text("VXLAN", spread=True) + f"---\n{yaml.safe_dump(DENY)}")
    node = lab.pod("x/a").node
    assert "table ip calico" not in lab.sh(node, "nft list tables")
    assert "cali-pi-" in lab.sh(node, "iptables-save")
    assert lab.diff() == []
    lab.delete("networkpolicy/deny", namespace="x")
    assert "cali-pi-" not in lab.sh(node, "iptables-save")
    assert lab.diff() == []


@pytest.mark.parametrize("nodes", [NFTABLES], indirect=True)
def test_felix_makes_its_table_anew_if_it_finds_another(open_lab: RunningLab) -> None:
    lab = open_lab
    lab.apply(yaml.safe_dump(DENY))
    node = lab.pod("x/a").node
    lab.sh(node, "nft flush ruleset; nft add table ip calico; nft add chain ip calico filter-cali-stale")
    lab.delete("networkpolicy/deny", namespace="x")
    assert lab.diff() == []
    assert "stale" not in lab.sh(node, "nft list chains ip")
