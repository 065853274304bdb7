"""How long pods have to end, and what of all that kube-proxies could not write is about a change."""

from __future__ import annotations

from nslab.admission.load import load
from nslab.app.published import unwritten
from nslab.app.replaced import times_to_end
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.lab.find import find

LAB = assign_addresses(load(find("calico-two-node")))
A, B, _, D = (replace(pod, grace=30) for pod in LAB.pods[:4])
NODE1, NODE2 = "nslab.calico-two-node.node1", "nslab.calico-two-node.node2"
POD_A, POD_B, POD_D = (f"nslab.calico-two-node.{name}" for name in ("pod-a", "pod-b", "pod-d"))


def test_each_pod_has_its_own_time_or_one_for_all() -> None:
    pods = (A, replace(D, grace=5))
    assert times_to_end(LAB, pods, 1000.0) == {NODE1: {POD_A: 30.0}, NODE2: {POD_D: 5.0}}
    assert times_to_end(LAB, pods, 1000.0, grace=7) == {NODE1: {POD_A: 7.0}, NODE2: {POD_D: 7.0}}
    assert times_to_end(LAB, pods, 1000.0, most=10.0) == {NODE1: {POD_A: 10.0}, NODE2: {POD_D: 5.0}}


def test_who_terminates_has_what_is_left() -> None:
    pods = (replace(A, deletion=1012.5), replace(B, deletion=999.0))
    assert times_to_end(LAB, pods, 1000.0, grace=7) == {NODE1: {POD_A: 12.5, POD_B: 0.0}}


def test_some_containers_end_alone() -> None:
    assert times_to_end(LAB, (A, B), 0.0, some={POD_A: ["app", "side"]}) == {
        NODE1: {f"{POD_A}/app": 30.0, f"{POD_A}/side": 30.0, POD_B: 30.0}
    }


def test_what_is_about_other_services_is_not_about_the_change() -> None:
    failed = {"node1": {"default/a": "full", "default/b": "taken"}, "node2": {"": "no iptables"}, "node3": {}}
    assert unwritten(failed, ["default/a"]) == {"node1": {"default/a": "full"}, "node2": {"": "no iptables"}}
    assert unwritten(failed, []) == {"node2": {"": "no iptables"}}
