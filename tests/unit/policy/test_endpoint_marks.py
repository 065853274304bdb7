"""Felix beside IPVS: the hashes and marks of public dumps of real nodes (before 3.30), and who is let through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from nslab.app.predict import predict
from nslab.policy import endpoint_marks, felix
from nslab.policy.model import Cluster, FelixNode
from nslab.policy.release import RELEASES
from nslab.policy.rule import signed
from nslab.trace.hops import Action, End

if TYPE_CHECKING:
    from pathlib import Path

PODS = {
    "cali27d5a8fe8ae": 0xD8E00000, "cali2aef8851418": 0xEF300000, "cali7aefa6d70b6": 0x78900000,
    "cali9819c942018": 0x7EA00000, "calia839c1cc9c9": 0xCAA00000,
}  # fmt: skip
"""The dump's interfaces, and their marks."""
HASHES = {
    "cali-forward-check": ["Pbldlb4FaULvpdD8", "ZD-6UxuUtGW-xtzg", "CbPfUajQ2bFVnDq4", "jmhU0ODogX-Zfe5g"],
    "cali-forward-endpoint-mark": [
        "O0SmFDrnm7KggWqW", "aFl0WFKRxDqj8oA6", "AZKVrO3i_8cLai5f", "96HaP1sFtb-NYoYA", "VxO6hyNWz62YEtul",
    ],
    "cali-from-endpoint-mark": [
        "yrNYN7JSyKTMrK2e", "Mof1pl96ntHWNQs1", "P5K9PLTqVKy5i_1_", "fQ0ik3KiJzTh9I70", "gitZnAAukiLAmCUI",
        "tej56hiPcjcRGpe6",
    ],
    "cali-set-endpoint-mark": [
        "tz9NBFniulUgGBjW", "IIdcC1Nc8DMJPOmV", "HhHRDuuRHawybzO0", "s0llq7oHvWXgtWHF", "WvxmRu87ZdkMFZfN",
        "5mtFm2IJrCxBoUiE",
    ],
    "cali-set-endpoint-mark-2": ["1Ezy3UuQellelUY6", "JdjymFzDaTn6R8OT"],
    "cali-sm-cali27d5a8fe8ae": ["5YcUdcJi9FRaL31s"],
    "cali-sm-cali2aef8851418": ["wNB3cxkn8Zy4hVaZ"],
    "cali-sm-cali7aefa6d70b6": ["iCSqkzn6SmXohZ0r"],
    "cali-sm-cali9819c942018": ["7ewcJAgujCj_O-At"],
    "cali-sm-calia839c1cc9c9": ["gDdTkl18TQmHodkw"],
}  # fmt: skip
LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: marked}
spec:
  cni: {plugin: calico}
  proxy: {mode: ipvs}
  nodes: [{name: node1}, {name: node2}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: mute}
spec: {podSelector: {matchLabels: {quiet: "yes"}}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec: {nodeName: %s, containers: [{name: c, image: pause, ports: [{containerPort: 8080}]}]}
"""


def test_a_real_node_has_these_marks_and_hashes() -> None:
    release = RELEASES["3.28"]
    found = {name: signed(name, rules) for name, rules in endpoint_marks.chains(release, [*PODS])}
    assert {name: re.findall("cali:(.{16})", " ".join(rules)) for name, rules in found.items()} == HASHES
    assert {name: found[f"cali-sm-{name}"][0].split()[-1] for name in PODS} == {
        name: f"{mark:#x}/0xfff00000" for name, mark in PODS.items()
    }


def test_its_input_and_output_ask_them() -> None:
    items = felix.items(Cluster(), FelixNode("n", (), "tunl0", ("192.168.59.23",), "3.28", ipvs=True))
    assert re.findall("cali:(.{16})", " ".join(items["chain", "filter", "cali-OUTPUT"]))[:4] == [
        "Mq1_rAdXXH3YkrzW", "5Z67OUUpTOM7Xa1a", "M2Wf0OehNdig8MHR", "AJBkLho_0Qd8LNr3",
    ]  # fmt: skip
    assert re.findall("cali:(.{16})", " ".join(items["chain", "filter", "cali-INPUT"]))[2:5] == [
        "ss8lEMQsXi-s6qYT", "PgIW-V0nEjwPhF_8", "QMJlDwlS0OjHyfMN",
    ]  # fmt: skip


def test_no_two_pods_have_one_number_and_none_has_that_of_other_packets() -> None:
    many = [f"cali{number:011x}" for number in range(2046)]
    found = endpoint_marks.numbers(RELEASES["3.30"], many)
    assert sorted(found.values()) == [*range(2, 2048)]


@pytest.mark.parametrize(
    ("sender", "dropped"),
    [("friend", ""), ("friend-2", ""), ("foe", "cali-tw-"), ("foe-2", "cali-tw-"), ("mute", "cali-fw-"), ("node1", "")],
)
def test_policies_hold_for_what_ipvs_forwards(tmp_path: Path, sender: str, dropped: str) -> None:
    """A policy sees the endpoint, and the pod that asked."""
    hosts = {"web": "node1", "friend": "node1", "friend-2": "node2", "foe": "node1", "foe-2": "node2", "mute": "node1"}
    pods = "".join(POD % (name, "friend" if name == "mute" else name.removesuffix("-2"), node)
                   for name, node in hosts.items())  # fmt: skip
    (tmp_path / "lab.yaml").write_text(
        LAB + pods.replace("{name: mute, labels: {", '{name: mute, labels: {quiet: "yes", ')
    )
    (journey,) = predict(str(tmp_path / "lab.yaml"), sender, "shop")
    assert journey.count(Action.DNAT) == 1
    assert journey.end is (End.DROPPED if dropped else End.DELIVERED)
    assert dropped in journey.why
