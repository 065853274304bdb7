"""hostPort: a port of the node leads to a pod, by the chains of the CNI plugin portmap."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab.app.probe import probe
from tests.kernel.labkit import OwnLab, in_host

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: PLUGIN}
  nodes: [{name: n1}, {name: n2}]
  clients: [{name: client}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: agnhost, args: [netexec, --http-port=8080], ports: [{containerPort: 8080, hostPort: 8088}]}
"""


@pytest.fixture(scope="module", params=["calico", "flannel"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    made.write(LAB.replace("NAME", made.name).replace("PLUGIN", request.param))
    try:
        made.up()
        yield made
    finally:
        made.clear()


def client_of(lab: OwnLab, host: str, address: str) -> str:
    """The address that the pod behind a host port sees of a host."""
    text = subprocess.run(
        ["ip", "netns", "exec", lab.ns(host), "curl", "-sS", "-m", "5", f"http://{address}:8088/clientip"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return text.rpartition(":")[0]


def test_it_is_right_and_everybody_is_seen_as_who_they_are(lab: OwnLab) -> None:
    found = probe(lab.name)
    assert found.good, [str(call) for call in found.calls if call.wrong]
    asked = {(call.call.source, call.call.node) for call in found.calls}
    assert asked == {("client", "n1"), ("client", "n2"), ("n2", "n1"), ("n1", "n2")}
    assert client_of(lab, "client", "192.168.59.22") == "192.168.59.10"
    assert lab.differences() == []


def test_a_pod_and_its_node_s_loopback_reach_it_masqueraded(lab: OwnLab) -> None:
    (one, _) = [pod.name for pod in probe(lab.name).lab.pods]
    on_n1 = next(place for place in probe(lab.name).survey.places if place.name == one)
    seen = lab.in_pod(one, "curl -sS -m 5 http://192.168.59.22:8088/clientip").rpartition(":")[0]
    assert seen not in ("", str(on_n1.address))
    assert client_of(lab, "n1", "127.0.0.1") not in ("", "127.0.0.1")


def test_a_chain_that_is_emptied_is_named_and_mended(lab: OwnLab) -> None:
    in_host(probe(lab.name).lab, "n1", "iptables -t nat -F CNI-HOSTPORT-DNAT")
    found = probe(lab.name)
    wrong = {call.call: call for call in found.calls if call.wrong}
    assert {call.node for call in wrong} == {"n1"}
    assert all("CNI-HOSTPORT-DNAT" in found.reasons[call].sentence for call in wrong)
    lab.up()
    assert probe(lab.name).good
