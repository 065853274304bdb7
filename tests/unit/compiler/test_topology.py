"""topology-mode Auto: hints that the endpoints controller gives at first, and as pods become ready and unready."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from nslab.admission.load import parse, parse_with_warnings
from nslab.compiler.endpoints import resolve
from nslab.components.controllers.endpoints import masked
from nslab.dataclass import replace
from nslab.proxy.model import to_json

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec:
  nodes:
  - {name: n1, labels: {topology.kubernetes.io/zone: a}}
  - {name: n2, labels: {topology.kubernetes.io/zone: b}}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {service.kubernetes.io/topology-mode: Auto}}
spec: {selector: {app: web}, trafficDistribution: PreferSameNode, ports: [{port: 80}]}
"""
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: w{0}, labels: {{app: web}}}}\n"
POD += "spec: {{nodeName: n{1}, containers: [{{name: c, image: pause}}]}}\n"


def service(nodes: str, text: str = LAB) -> dict[str, Any]:
    """The Service as control gets it; its pods are on these nodes, a digit each."""
    lab = parse(text + "".join(POD.format(number, node) for number, node in enumerate(nodes)), "f")
    pods = (replace(one, assigned=IPv4Address(f"20.96.0.{number + 2}")) for number, one in enumerate(lab.pods))
    (found,) = resolve(replace(lab, pods=tuple(pods)))
    return to_json(found)


def hints(found: dict[str, Any]) -> list[str]:
    return ["".join(end.get("zones", ())) for end in found["ports"][0]["endpoints"]]


@pytest.mark.parametrize(
    ("nodes", "hinted"),
    [("12", ["a", "b"]), ("1112", ["b", "a", "a", "b"]), ("112", ["", "", ""]), ("1", [""])],
)
def test_zones_share_the_endpoints(nodes: str, hinted: list[str]) -> None:
    found = service(nodes)
    assert hints(found) == hinted
    assert not any("nodes" in end for end in found["ports"][0]["endpoints"]), "trafficDistribution has no effect"


def test_hints_follow_the_readiness_of_pods() -> None:
    found = service("1122")
    ready: dict[str, Any] = {f"default/w{number}": {"ready": True} for number in range(4)}
    assert masked(found, ready) == found
    assert hints(masked(found, {**ready, "default/w3": {"ready": False}})) == ["", "", "", ""]
    two = {**ready, "default/w0": {"ready": False}, "default/w3": {"ready": False}}
    assert hints(masked(found, two)) == ["", "a", "b", ""]
    one_zone = {**ready, "default/w2": {"ready": False}, "default/w3": {"ready": False}}
    assert hints(masked(found, one_zone)) == ["b", "a", "", ""]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("topology-mode: Auto", "topology-mode: Disabled"),
        ("topology-mode: Auto", "topology-mode: AUTO"),
        (", labels: {topology.kubernetes.io/zone: b}", ""),
        ("zone: b", "zone: a"),
        ("{topology.kubernetes.io/zone: b}", "{topology.kubernetes.io/zone: b, node-role.kubernetes.io/master: ''}"),
    ],
)
def test_what_gives_no_hints(old: str, new: str) -> None:
    assert old in LAB
    found = service("12", LAB.replace("trafficDistribution: PreferSameNode, ", "").replace(old, new))
    assert hints(found) == ["", ""]
    assert "zone_shares" not in found


def test_nodes_without_zones_are_named() -> None:
    assert parse_with_warnings(LAB.replace("selector: {app: web}, ", "") + POD.format(1, 1), "f")[1] == ()
    _, found = parse_with_warnings(LAB.replace("zone: b", "rack: b") + POD.format(1, 1), "f")
    text = (
        "Service web: the annotation service.kubernetes.io/topology-mode gives no hints, for they take nodes in zones"
    )
    assert [one.sentence for one in found] == [f"{text}; label each node with topology.kubernetes.io/zone"]
