"""Where a pod's nodeSelector has it."""

from __future__ import annotations

import os

import pytest

from nslab.lab.load import parse_with_warnings

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec: {nodes: [{name: n1}, {name: n2, labels: {disk: ssd}}, {name: n3, labels: {disk: hdd, zone: b}}]}
"""


def placed(selector: str, kind: str = "Pod") -> tuple[list[str], list[str]]:
    """The nodes of pods with a selector, and the warnings."""
    spec = f"{{nodeSelector: {selector}, containers: [{{name: c, image: pause}}]}}"
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


def test_labels_that_no_node_has_are_named_and_exclude_none() -> None:
    nodes, found = placed("{gpu: a100, disk: hdd}")
    assert nodes == ["n3"]
    assert found == ["no node has the label gpu=a100, by which pod a selects its nodes"]
    assert placed("{disk: tape}")[0] == ["n1"]
