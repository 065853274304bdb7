"""What `up` says of a file that was edited: it is a change, and no damage."""

from __future__ import annotations

import pytest

from nslab.admission.load import parse
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.lab.types import ProxyMode
from nslab.views.edits import edits
from tests.unit.views.twonodes import TWO_NODES

TEXT = (
    TWO_NODES
    + """\
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: a}}
spec: {nodeName: n1, containers: [{name: app, image: agnhost, args: [netexec, --http-port=8080]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx, env: [{name: K, value: a}]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {key: old-password}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.1.1, selector: {app: a}, ports: [{port: 80}]}
"""
)
BIRD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: mine}
spec: {cni: {plugin: calico, bgp: bird}, nodes: [{name: n1}, {name: n2}]}
"""
LAB = assign_addresses(parse(TEXT, "lab.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("", "", []),
        (
            "--http-port=8080",
            "--http-port=9090",
            ["changed: pod a, container app: args netexec --http-port=8080 -> netexec --http-port=9090"],
        ),
        ("value: a", "value: b", ["changed: deployment shop/web, container c: env[K].value a -> b"]),
        ("replicas: 2", "replicas: 3", ["changed: deployment shop/web: spec.replicas 2 -> 3"]),
        ("labels: {app: a}", "labels: {app: a, b: c}", ["changed: pod a: metadata.labels.b unset -> c"]),
        ("port: 80}", "port: 81}", ["changed: service web: spec.ports[0].port 80 -> 81"]),
        ("old-password", "new-password", ["changed: secret s: stringData.key"]),
        ("{name: s}", "{name: t}", ["deleted: secret s", "created: secret t"]),
        ("{name: n2}", "{name: n2}, {name: n3}", ["created: node n3"]),
        ("image: agnhost", 'image: "\\e[31m"', ["changed: pod a, container app: image agnhost -> ?[31m"]),
    ],
)  # fmt: skip
def test_an_edit_in_the_files_terms(old: str, new: str, lines: list[str]) -> None:
    assert edits(LAB, assign_addresses(parse(TEXT.replace(old, new), "lab.yaml"))) == lines


def test_a_setting_is_the_files_again() -> None:
    was = replace(LAB, proxy_mode=ProxyMode.NFTABLES)
    assert edits(was, LAB) == ["back to the file: proxy-mode iptables (was nftables)"]
    assert edits(LAB, was, ["proxy-mode"]) == ["changed: proxy-mode nftables (was iptables)"]


def test_what_a_file_may_leave_out_is_written_as_in_the_file_and_no_line_if_it_is_empty() -> None:
    bird = assign_addresses(parse(BIRD, "lab.yaml"))
    assert edits(assign_addresses(parse(BIRD.replace(", bgp: bird", ""), "lab.yaml")), bird) == [
        "changed: lab: cni.bgp.daemon unset -> bird",
        "changed: lab: cni.bgp.asNumber unset -> 64512",
        "changed: lab: cni.bgp.nodeToNodeMeshEnabled unset -> true",
        "changed: lab: cni.bgp.nodeMeshMaxRestartTime unset -> 120s",
    ]


def test_a_schedulers_mode_goes_with_it() -> None:
    was = replace(LAB, proxy_mode=ProxyMode.IPVS, scheduler="lc")
    assert edits(was, LAB) == ["back to the file: proxy-mode iptables (was ipvs)"]
