"""`policy`: who may reach a pod, and whom it may reach, by the policies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from nslab.cli.commands import build
from nslab.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: guarded}
spec:
  cni: {plugin: PLUGIN}
  nodes: [{name: node1}]
  clients: [{name: client}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, image: agnhost, ports: [{containerPort: 80}, {containerPort: 443}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: friend, labels: {app: friend}}
spec: {containers: [{name: c, image: agnhost, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: far}
spec: {containers: [{name: c, image: agnhost}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: 80}]}]
"""


def said(*words: str) -> str:
    done = CliRunner().invoke(build(), ["policy", *words])
    assert done.exit_code == 0, done.output
    return done.output


def predicted(*words: str) -> str:
    return CliRunner().invoke(build(), ["trace", *words, "--predict"]).output


def refused(*words: str) -> str:
    done = CliRunner().invoke(build(), ["policy", *words])
    assert isinstance(done.exception, UsageError), done.output
    return str(done.exception)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "guarded.yaml"
    made.write_text(LAB.replace("PLUGIN", "calico"))
    return made


def test_who_may_reach_it_by_which_ports_and_whom_it_may_reach(file: Path) -> None:
    output = said(str(file), "web")
    assert [" ".join(line.split()) for line in output.splitlines()] == [
        "ingress of web: isolated by default/web",
        "egress of web: not isolated",
        "",
        "HOST MAY REACH IT THE REST DENIED BY IT MAY REACH THE REST DENIED BY",
        "friend 80/TCP default/web yes",
        "far_stranger no default/web yes",
        "node1 yes yes",
        "client no default/web yes",
    ]


def test_the_other_end_s_policies_count_and_data_says_the_same(file: Path) -> None:
    found = json.loads(said(str(file), "far/stranger", "-o", "json"))
    assert (found["pod"], found["isolated"]) == ("far_stranger", {"ingress": [], "egress": []})
    hosts = {one.pop("host"): one for one in found["hosts"]}
    assert hosts["web"]["from"] == {"ports": ["all"], "deniedBy": []}
    assert hosts["web"]["to"] == {"ports": [], "deniedBy": ["default/web"]}


def test_a_pod_in_its_nodes_network_has_no_policies(file: Path) -> None:
    own = "name: stranger, namespace: far}\nspec: {"
    file.write_text(file.read_text().replace(own, f"{own}hostNetwork: true, "))
    text = "has its node's network (hostNetwork), to which no NetworkPolicy applies"
    assert refused(str(file), "far/stranger") == f"pod far/stranger {text}"
    assert "far_stranger" not in said(str(file), "web")


def test_a_plugin_without_policies_and_a_pod_that_is_not_there_are_a_sentence(file: Path) -> None:
    assert refused(str(file), "wep") == "guarded has no pod wep; did you mean web?"
    file.write_text(LAB.replace("PLUGIN", "kubenet"))
    assert (
        refused(str(file), "web") == "guarded: kubenet has nothing that enforces NetworkPolicies; plugin: calico does"
    )


def test_a_prediction_names_the_policies_that_have_a_packet_dropped(file: Path) -> None:
    text = "ingress of web is isolated by default/web, of which none allows it from friend for port 443/TCP"
    assert predicted(str(file), "friend", "web:443").splitlines()[-1] == text
    assert "isolated" not in predicted(str(file), "friend", "web:80")


def test_another_node_is_seen_by_the_address_of_its_tunnel(file: Path) -> None:
    block = "ipBlock: {cidr: 192.168.59.0/24}"
    text = LAB.replace("podSelector: {matchLabels: {app: friend}}", block)
    text = text.replace("name: node1}", "name: node1}, {name: node2}")
    pinned = text.replace("spec: {containers", "spec: {nodeName: node1, containers")
    for plugin, seen in (("calico", "no"), ("calico, encapsulation: None", "80/TCP")):
        file.write_text(pinned.replace("PLUGIN", plugin))
        rows = [line.split() for line in said(str(file), "web").splitlines()]
        assert [row[1] for row in rows if row[:1] == ["node2"]] == [seen]
