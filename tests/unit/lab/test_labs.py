"""The labs that come with nslab, what is filled in, what is kept, and the schema."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from nslab.admission.load import load, name_of, parse, parse_stored
from nslab.api.pod_types import Container
from nslab.api.words import FEW, listed
from nslab.errors import UsageError
from nslab.lab import find
from nslab.lab.dump import dump
from nslab.lab.status import merge_status
from nslab.lab.stream import lab_schema as schema
from nslab.lab.types import Encapsulation, Lab, Plugin

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: small}\nspec:\n  proxy: {mode: none}\n"
NAMES = find.names()


def lab(spec: str, *pods: str) -> Lab:
    """A small lab: more of its spec, and pods as "metadata | spec"."""
    text = SMALL + spec
    for pod in pods:
        name, _, rest = pod.partition(" | ")
        text += f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"
        text += f"spec: {{containers: [{{name: app, image: agnhost}}]{rest and ', ' + rest}}}\n"
    return parse(text, "small")


def test_the_labs_of_the_course() -> None:
    assert {"calico-two-node", "kubenet-two-node", "pause-pod"} <= {*NAMES}
    assert all(shipped.about.endswith(".") for shipped in find.shipped())
    two = load(find.find("calico-two-node"))
    assert (two.plugin, two.encapsulation) == (Plugin.CALICO, Encapsulation.IPIP)
    assert [f"{n.name} {n.address} {n.pod_cidr}" for n in two.nodes] == [
        "node1 192.168.59.22 20.111.156.0/26",
        "node2 192.168.59.23 20.109.131.0/26",
    ]
    assert [f"{p.name} {p.node} {p.requested}" for p in two.pods[:4]] == [
        "pod-a node1 20.111.156.6",
        "pod-b node1 20.111.156.7",
        "pod-c node2 20.109.131.2",
        "pod-d node2 20.109.131.3",
    ]
    pause = load(find.find("pause-pod"))
    assert [str(port.port) for c in pause.pods[0].containers for port in c.ports] == ["8000", "8080"]


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_survives_being_written(name: str) -> None:
    made = load(find.find(name))
    made = replace(made, pods=tuple(replace(pod, assigned=pod.requested) for pod in made.pods))
    assert parse_stored(dump(made), "kept") == made


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_accepts_the_labs(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    made = load(find.find(name))
    for text in (
        find.find(name).read_text(),
        dump(replace(made, last_reserved=((made.nodes[0].name, made.nodes[0].pod_cidr[5]),))),
    ):
        validator.validate(next(iter(yaml.safe_load_all(text))))


def test_the_schema_is_one_and_refuses_what_the_loader_refuses() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(schema())))
    good = {"apiVersion": "nslab/v1", "kind": "Lab", "metadata": {"name": "a"}, "spec": {"nodes": [{"name": "n"}]}}
    assert validator.is_valid(good)
    for bad in (
        {**good, "kind": "Pod"},
        {**good, "metadata": {}},
        {**good, "metadata": {"name": "A"}},
        {**good, "metadata": {"name": "a" * 64}},
        {**good, "spec": {"nodes": []}},
        {**good, "spec": {"nodes": [{"name": "n", "adress": "192.168.59.22"}]}},
        {**good, "spec": {"nodes": [{"name": "n", "address": "192.168.59.022"}]}},
        {**good, "spec": {"nodes": [{"name": "n"}], "cni": {"plugin": "cilium"}}},
    ):
        assert not validator.is_valid(bad), bad


def test_what_a_lab_need_not_say() -> None:
    made = lab("  nodes: [{name: a}, {name: b}, {name: c, address: 192.168.59.23}]\n  clients: [{name: d}]\n")
    assert [f"{n.name} {n.address} {n.pod_cidr}" for n in made.nodes] == [
        "a 192.168.59.22 20.96.0.0/26",
        "b 192.168.59.24 20.96.0.64/26",
        "c 192.168.59.23 20.96.0.128/26",
    ]
    assert str(made.clients[0].address) == "192.168.59.10"
    assert (made.plugin, made.encapsulation, made.dns_address) == (Plugin.CALICO, Encapsulation.IPIP, None)
    assert [str(n) for n in (*made.networks.nodes, made.networks.pods, made.networks.services)] == [
        "192.168.59.0/24",
        "20.96.0.0/12",
        "10.96.0.0/12",
    ]


def test_kubenet_has_other_shares_and_no_encapsulation() -> None:
    nodes = "[{name: a}, {name: b, podCIDR: 20.96.1.0/25}, {name: c}]"
    made = lab(f"  cni: {{plugin: kubenet}}\n  nodes: {nodes}\n")
    assert [str(node.pod_cidr) for node in made.nodes] == ["20.96.0.0/24", "20.96.1.0/25", "20.96.2.0/24"]
    assert made.encapsulation is Encapsulation.NONE


def test_pods_go_where_the_fewest_are() -> None:
    made = lab("  nodes: [{name: a}, {name: b}]\n", "p | nodeName: a", "q", "r", "s", "t | nodeName: a")
    assert [f"{pod.name} {pod.node}" for pod in made.pods] == ["p a", "q b", "r b", "s a", "t a"]


def test_pods_go_where_there_is_room_and_where_their_address_is() -> None:
    nodes = "  nodes: [{name: a, podCIDR: 20.96.0.0/30}, {name: b}]\n"
    made = lab(nodes, *"opqrstuvwxyz")
    assert [pod.node for pod in made.pods].count("a") == 3
    made = lab(nodes, """p, annotations: {cni.projectcalico.org/ipAddrs: '["20.96.0.70"]'}""")
    assert [f"{node.name} {node.pod_cidr}" for node in made.nodes] == ["a 20.96.0.0/30", "b 20.96.0.64/26"]
    assert (made.pods[0].node, str(made.pods[0].requested)) == ("b", "20.96.0.70")


def test_what_a_pod_need_not_say() -> None:
    node = "  nodes: [{name: a}]\n"
    pod = lab(node, "p").pods[0]
    assert (pod.namespace, pod.hostname, pod.containers[0].args) == ("default", "p", ("netexec",))
    assert pod.uid == lab(node, "q", "p").pods[1].uid
    assert pod.uid != lab(node, "q").pods[0].uid


@pytest.mark.parametrize(
    "image", ["agnhost", "agnhost:2.53", "registry.k8s.io/e2e-test-images/agnhost:2.53", "host:5000/agnhost@sha256:0"]
)
def test_agnhost_of_any_registry_is_built_in(image: str) -> None:
    assert Container("app", image).builtin
    assert not Container("app", image, command=("sleep",)).builtin
    assert not Container("app", f"{image}-other/x").builtin


def test_a_running_lab_keeps_its_addresses() -> None:
    nodes = "  nodes: [{name: a}, {name: b}]\n"
    old = lab(nodes, "p | nodeName: a", "q | nodeName: a", "r | nodeName: b")
    had = ["20.96.0.1", "20.96.0.2", "20.96.0.65"]
    ran = (replace(p, assigned=IPv4Address(a), uid=f"u-{p.name}") for p, a in zip(old.pods, had, strict=True))
    last = (("a", IPv4Address("20.96.0.2")), ("gone", IPv4Address("20.96.1.2")))
    old = replace(old, pods=tuple(ran), last_reserved=last)
    new = merge_status(lab(nodes, "new | nodeName: a", "q | nodeName: a", "p | nodeName: a", "r | nodeName: a"), old)
    assert [f"{p.name} {p.assigned}" for p in new.pods] == ["new None", "q 20.96.0.2", "p 20.96.0.1", "r None"]
    assert [p.uid for p in new.pods[1:3]] == ["u-q", "u-p"]
    assert new.last_reserved == (("a", IPv4Address("20.96.0.2")),)
    assert parse_stored(dump(new), "kept") == new


def test_a_kept_address_goes_when_it_cannot_be() -> None:
    nodes = "  nodes: [{name: a}]\n"
    old = lab(nodes, "p")
    old = replace(old, pods=(replace(old.pods[0], assigned=IPv4Address("20.96.0.0")),))
    assert merge_status(old, old) == old
    assert merge_status(lab(nodes, "p"), old).pods[0].assigned is None  # the tunnel's
    flat = lab("  cni: {encapsulation: None}\n" + nodes, "p")
    assert str(merge_status(flat, old).pods[0].assigned) == "20.96.0.0"
    moved = lab("  cni: {encapsulation: None}\n  nodes: [{name: a, podCIDR: 20.96.4.0/26}]\n", "p")
    assert merge_status(moved, old).pods[0].assigned is None
    other = replace(
        flat, pods=(*flat.pods, replace(flat.pods[0], name="q", uid="q", requested=IPv4Address("20.96.0.0")))
    )
    assert [pod.assigned for pod in merge_status(other, old).pods] == [None, None]  # who asks for it gets it


def test_finding_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine" / "lab.yaml"
    file.parent.mkdir()
    file.write_text(SMALL)
    (tmp_path / "empty").mkdir()
    assert find.find(str(file.parent)) == file
    assert find.find(str(file)) == file
    assert find.find("pause-pod").parts[-2:] == ("pause-pod", "lab.yaml")
    assert find.about(file) == ""
    monkeypatch.chdir(tmp_path)  # a long path would be shown in part
    missing = "there is no lab {}, and no file or folder of that name; {}"
    known = f"known are {listed(NAMES)}" if len(NAMES) <= FEW else "`nslab labs` lists what there is"
    for name, sentence in (
        ("calico-two-nodes", missing.format("calico-two-nodes", "did you mean calico-two-node?")),
        ("zebra", missing.format("zebra", known)),
        ("a\0b", missing.format('"a\\x00b"', known)),
        ("a" * 5000, missing.format("a" * 59 + "…", known)),
    ):
        with pytest.raises(UsageError) as caught:
            find.find(name)
        assert str(caught.value) == sentence


def test_a_files_lab_has_its_name_whatever_else_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(SMALL + "  cni: {plugin: exec, conf: gone.conflist}\n  nodez: []\n")
    assert name_of(file) == "small"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {ports: [{port: no}]}\n")
    assert name_of(file) == "shop"
    file.write_text("apiVersion: nslab/v1\nkind: Lab\nmetadata: {}\n")
    with pytest.raises(UsageError):
        name_of(file)
    with pytest.raises(UsageError):
        name_of(tmp_path / "absent.yaml")
