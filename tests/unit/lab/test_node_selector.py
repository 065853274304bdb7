"""Where a pod's nodeSelector has it."""

from __future__ import annotations

import os

import pytest

from nslab.admission.change import applied, deleted
from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.lab.scheduling import unschedulable

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec:
  nodes:
  - {name: n1, labels: {topology.kubernetes.io/zone: a, cpus: "4"}}
  - {name: n2, labels: {disk: ssd, cpus: "8"}}
  - {name: n3, labels: {disk: hdd, zone: b, cpus: "16"}}
"""


def placed(selector: str, kind: str = "Pod", affinity: str = "") -> tuple[list[str], list[str]]:
    """The nodes of pods with a selector and terms of a required nodeAffinity, and the warnings."""
    terms = f"requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: {affinity}}}"
    more = f"affinity: {{nodeAffinity: {{{terms}}}}}, " if affinity else ""
    spec = f"{{nodeSelector: {selector}, {more}containers: [{{name: c, image: pause}}]}}"
    if kind == "Pod":
        text = f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n"
    else:
        replicas = "" if kind == "DaemonSet" else "replicas: 3, "
        template = f"template: {{metadata: {{labels: {{a: b}}}}, spec: {spec}}}"
        text = f"---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: a}}\n"
        text += f"spec: {{{replicas}selector: {{matchLabels: {{a: b}}}}, {template}}}\n"
    lab, found = parse_with_warnings(LAB + text, "f")
    return [one.node for one in lab.pods], [one.sentence for one in found]


@pytest.mark.parametrize(
    ("selector", "node"),
    [
        ("{kubernetes.io/hostname: n2}", "n2"),
        ("{disk: hdd}", "n3"),
        ("{disk: ssd, kubernetes.io/os: linux}", "n2"),
        ("{beta.kubernetes.io/os: linux}", "n1"),
    ],
)
def test_a_pod_is_on_a_node_with_its_labels(selector: str, node: str) -> None:
    assert placed(selector) == ([node], [])


def test_replicas_share_the_nodes_that_there_are_and_daemons_are_on_each() -> None:
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert sorted(placed(f"{{kubernetes.io/arch: {arch}}}", "Deployment")[0]) == ["n1", "n2", "n3"]
    assert placed("{disk: ssd}", "Deployment") == (["n2"] * 3, [])
    assert placed("{disk: ssd}", "DaemonSet") == (["n2"], [])


def test_daemons_of_another_system_are_nowhere() -> None:
    nodes, found = placed("{kubernetes.io/os: windows}", "DaemonSet")
    assert nodes == []
    assert found == ["no node has the label kubernetes.io/os=windows, by which DaemonSet a selects its nodes"]


def test_a_pod_with_labels_that_no_node_has_waits() -> None:
    nodes, found = placed("{gpu: a100, disk: hdd}")
    assert nodes == []
    assert found == ["no node has the label gpu=a100, by which pod a selects its nodes"]
    text = "no node has the labels disk=ssd, cpus=16 together, by which pod a selects its nodes"
    assert placed('{disk: ssd, cpus: "16"}') == ([], [text])


def test_what_waits_is_kept_and_goes_to_a_node_that_gets_the_label() -> None:
    text = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
    text += "spec: {nodeSelector: {gpu: a100}, containers: [{name: c, image: pause}]}\n"
    lab = parse(LAB + text, "f")
    assert [(one.name, one.node) for one in lab.pending] == [("a", "")]
    assert parse_stored(dump(lab), "kept") == lab
    assert deleted(lab, ["pod/a"])[0].pending == ()
    (pod,) = parse(LAB.replace("disk: hdd", "gpu: a100") + text, "f").pods
    assert (pod.name, pod.node, pod.uid) == ("a", "n3", lab.pending[0].uid)
    assert unschedulable(lab, lab.pending[0]) == (
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


IS_N1 = "{matchFields: [{key: metadata.name, operator: In, values: [n1]}]}"


@pytest.mark.parametrize(
    ("terms", "nodes"),
    [
        ("[{matchExpressions: [{key: disk, operator: In, values: [ssd, hdd]}]}]", {"n2", "n3"}),
        ("[{matchExpressions: [{key: disk, operator: NotIn, values: [ssd]}]}]", {"n1", "n3"}),
        ("[{matchExpressions: [{key: disk, operator: Exists}]}]", {"n2", "n3"}),
        ("[{matchExpressions: [{key: disk, operator: DoesNotExist}]}]", {"n1"}),
        ("[{matchExpressions: [{key: cpus, operator: Gt, values: ['4']}]}]", {"n2", "n3"}),
        ("[{matchExpressions: [{key: cpus, operator: Lt, values: ['10']}]}]", {"n1", "n2"}),
        ("[{matchFields: [{key: metadata.name, operator: NotIn, values: [n2]}]}]", {"n1", "n3"}),
        ("[{matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [a]}]}]", {"n1"}),
        ("[{matchExpressions: [{key: beta.kubernetes.io/os, operator: In, values: [linux]}]}]", {"n1", "n2", "n3"}),
        ("[{matchExpressions: [{key: disk, operator: Exists}, {key: zone, operator: DoesNotExist}]}]", {"n2"}),
        (f"[{{matchExpressions: [{{key: zone, operator: Exists}}]}}, {IS_N1}]", {"n1", "n3"}),
        ("[{}, {matchExpressions: [{key: disk, operator: In, values: [ssd]}]}]", {"n2"}),
    ],
)  # fmt: skip
def test_a_required_affinity_places_replicas_and_daemons(terms: str, nodes: set[str]) -> None:
    for kind in ("Deployment", "DaemonSet"):
        there, found = placed("{}", kind, terms)
        assert ({*there}, found) == (nodes, [])


def test_an_affinity_narrows_a_selector() -> None:
    exists = "[{matchExpressions: [{key: disk, operator: Exists}]}]"
    assert placed("{cpus: '16'}", "Pod", exists) == (["n3"], [])
    nodes, found = placed("{cpus: '4'}", "Pod", exists)
    assert (nodes, found) == ([], ["no node matches disk, by which pod a selects its nodes"])


def test_an_affinity_that_no_node_fulfils_is_named() -> None:
    tape = "[{matchExpressions: [{key: disk, operator: In, values: [tape]}]}]"
    text = "no node matches disk in (tape), by which {} a selects its nodes"
    assert placed("{}", "Pod", tape) == ([], [text.format("pod")])
    assert placed("{}", "DaemonSet", tape) == ([], [text.format("DaemonSet")])
    both = "[{matchExpressions: [{key: gpu, operator: Exists}, {key: disk, operator: In, values: [ssd]}]}]"
    assert placed("{}", "Pod", both) == (
        [],
        ["no node matches gpu,disk in (ssd), by which pod a selects its nodes"],
    )


TERM = "nodeSelectorTerms[0].match{}: "
REFUSED = {
    "nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt}]}]": TERM.format("Expressions[0].values")
    + "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
    "nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Near}]}]": TERM.format("Expressions[0].operator")
    + 'Invalid value: "Near": not a valid selector operator',
    "nodeSelectorTerms: [{matchFields: [{key: b, operator: In, values: [a]}]}]": TERM.format("Fields[0].key")
    + 'Invalid value: "b": not a valid field selector key',
    "nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In}]}]": TERM.format("Fields[0].values")
    + "Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
}
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n"
POD += "spec: {{affinity: {}, containers: [{{name: c, image: pause}}]}}\n"


def affinity(kind: str, value: str) -> str:
    """A lab with a pod that has one kind of nodeAffinity."""
    return LAB + POD.format(f"{{nodeAffinity: {{{kind}DuringSchedulingIgnoredDuringExecution: {value}}}}}")


@pytest.mark.parametrize("value", REFUSED)
def test_the_api_server_refuses(value: str) -> None:
    with pytest.raises(LabFileError) as wrong:
        parse(affinity("required", f"{{{value}}}"), "f")
    (one,) = wrong.value.errors
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    assert one.sentence == f'The Pod "a" is invalid: {path}.{REFUSED[value]}'


def test_a_preference_is_kept_and_named() -> None:
    preference = f"[{{weight: 1, preference: {IS_N1}}}]"
    _, found = parse_with_warnings(affinity("preferred", preference), "f")
    path = "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"
    assert [one.sentence for one in found] == [f"kept, not acted on: Pod.spec.{path}"]
    with pytest.raises(LabFileError, match=rf"{path}\[0\].weight: Invalid value: 0: must be in the range 1-100"):
        parse(affinity("preferred", preference.replace("1", "0", 1)), "f")


def test_a_replica_moves_when_its_template_asks_for_another_node() -> None:
    text = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: pause}]}
"""
    lab = parse(f"{LAB}---\n{text}", "f")
    assert [one.node for one in lab.pods] == ["n2"]
    assert [one.node for one in applied(lab, text)[0].pods] == ["n2"]
    assert [one.node for one in applied(lab, text.replace("ssd", "hdd"))[0].pods] == ["n3"]
