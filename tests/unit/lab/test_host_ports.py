"""Host ports, and ports of pods with hostNetwork: what the API server refuses, and where the scheduler has the pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, deleted
from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.errors import LabFileError
from nslab.lab.dump import documents, dump
from nslab.lab.scheduling import unschedulable, with_waiting

if TYPE_CHECKING:
    from nslab.lab.types import Lab

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec: {nodes: [{name: n1}, {name: n2, labels: {disk: ssd}}]}
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {SPEC, containers: [{name: c, image: pause, ports: [PORTS]}]}
"""
PORT = "{containerPort: 80, hostPort: 80}"
FREE = "node(s) didn't have free ports for the requested pod ports"


def pod(name: str, ports: str = PORT, spec: str = "restartPolicy: Always") -> str:
    return POD.replace("NAME", name).replace("PORTS", ports).replace("SPEC", spec)


def lab_of(*pods: str) -> Lab:
    return parse(LAB + "".join(pods), "f")


def refusals(text: str) -> list[str]:
    with pytest.raises(LabFileError) as refused:
        parse(LAB + text, "f")
    return [one.sentence.partition(" is invalid: ")[2] for one in refused.value.errors]


def test_a_port_is_one_pods_on_each_node_and_a_third_waits() -> None:
    lab = lab_of(pod("a"), pod("b"), pod("c"))
    assert [(one.name, one.node) for one in lab.all_pods] == [("a", "n1"), ("b", "n2"), ("c", "")]
    assert unschedulable(lab, lab.pending[0]) == (
        f"0/2 nodes are available: 2 {FREE}. no new claims to deallocate, "
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    )
    assert parse_stored(dump(lab), "kept") == lab


def test_it_waits_for_the_node_with_its_label() -> None:
    lab = lab_of(pod("a", spec="nodeName: n2"), pod("b", spec="nodeSelector: {disk: ssd}"))
    assert unschedulable(lab, lab.pending[0]) == (
        f"0/2 nodes are available: 1 {FREE}, 1 node(s) didn't match Pod's node affinity/selector. no new claims to "
        "deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_it_is_placed_when_another_has_gone_and_not_when_it_is_read() -> None:
    lab = deleted(lab_of(pod("a"), pod("b"), pod("c")), ["pod/b"])[0]
    assert parse_stored(dump(lab), "kept") == lab
    assert [(one.name, one.node) for one in with_waiting(lab).all_pods] == [("a", "n1"), ("c", "n2")]


@pytest.mark.parametrize(
    ("other", "node"),
    [
        ("{containerPort: 80, hostPort: 80, protocol: UDP}", "n1"),
        ("{containerPort: 80, hostPort: 81}", "n1"),
        ("{containerPort: 80, hostPort: 80, hostIP: 10.1.1.1}", "n2"),
        ("{containerPort: 80, hostPort: 80, hostIP: 0.0.0.0}", "n2"),
    ],
)
def test_a_port_is_a_number_a_protocol_and_an_address(other: str, node: str) -> None:
    selected = "nodeSelector: {kubernetes.io/hostname: NODE}"
    lab = lab_of(pod("a", spec="nodeName: n1"), pod("b", other, selected.replace("NODE", "n1")))
    assert bool(lab.pending) == (node == "n2")
    assert [one.node for one in lab_of(pod("a", spec="nodeName: n1"), pod("b", other)).pods][1:] in (["n2"], [node])


def test_two_addresses_of_a_node_are_two_ports() -> None:
    ports = [f"{{containerPort: 80, hostPort: 80, hostIP: 10.1.1.{number}}}" for number in (1, 2)]
    assert not lab_of(*(pod(f"p{number}", one, "nodeName: n1") for number, one in enumerate(ports))).pending


def test_with_the_nodes_network_a_port_is_the_nodes() -> None:
    own = pod("a", "{containerPort: 80}", "hostNetwork: true, nodeName: n1")
    lab = lab_of(own, pod("b"), pod("c", "{containerPort: 80}", "hostNetwork: true"))
    assert [(one.name, one.node) for one in lab.all_pods] == [("a", "n1"), ("b", "n2"), ("c", "")]
    (written,) = [one for one in documents(lab).pods if one.name == "a"]
    assert written.value["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80}]


def test_a_template_keeps_what_it_says_and_its_pods_are_completed() -> None:
    text = "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d}\nspec: {selector: {matchLabels: {a: b}}, "
    text += "template: {metadata: {labels: {a: b}}, spec: {hostNetwork: true, "
    text += "containers: [{name: c, image: pause, ports: [{containerPort: 80}]}]}}}\n"
    found = documents(lab_of(text))
    (daemon_set,) = found.controllers
    assert daemon_set.value["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80}]
    assert {one.value["spec"]["containers"][0]["ports"][0]["hostPort"] for one in found.pods} == {80}


def test_another_number_is_refused() -> None:
    wrong = pod("a", "{containerPort: 80, hostPort: 81}", "hostNetwork: true")
    text = (
        "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"
    )
    assert refusals(wrong) == [text]


@pytest.mark.parametrize(
    ("ports", "spec", "value"),
    [
        (f"{PORT}, {{containerPort: 81, hostPort: 80}}", "restartPolicy: Always", "TCP//80"),
        ("{containerPort: 80}, {containerPort: 80}", "hostNetwork: true", "TCP//80"),
    ],
)
def test_a_pod_has_a_port_once(ports: str, spec: str, value: str) -> None:
    (found,) = refusals(pod("a", ports, spec))
    assert found.endswith(f'.hostPort: Duplicate value: "{value}"')


def test_a_second_pod_that_names_the_node_is_pointed_out() -> None:
    here = "hostNetwork: true, nodeName: n1"
    _, found = parse_with_warnings(LAB + pod("a", spec=here) + pod("b", spec=here), "f")
    text = "hostPort 80/TCP does nothing: pod a of n1 has it, and a kubelet would reject a second one (NodePorts)"
    assert [one.sentence for one in found if "hostPort" in one.sentence] == [text]


def test_what_is_applied_waits_as_well() -> None:
    lab = applied(lab_of(pod("a"), pod("b")), pod("c"))[0]
    assert [one.name for one in lab.pending] == ["c"]


def test_the_nodes_network_is_acted_on_and_takes_no_address() -> None:
    everyone = [pod(f"p{number}", "", "hostNetwork: true, nodeName: n1") for number in range(9)]
    text = LAB.replace("{name: n1}", "{name: n1, podCIDR: 20.96.0.0/30}")
    lab, found = parse_with_warnings(text + "".join(everyone), "f")
    assert (len(lab.pods), [one.sentence for one in found]) == (9, [])
